package dev.lanyard;

import dev.lanyard.v1.VerifiedSession;

/** A request whose user was let in. */
record Admission(CorrelationId correlationId, Ust ust, VerifiedSession session) {}
