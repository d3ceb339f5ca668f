package dev.lanyard;

import dev.lanyard.v1.VerifiedSession;
import io.grpc.Context;
import java.util.Optional;

/**
 * What the current {@link Context} (of gRPC, but it needs no gRPC call) knows of the request that is being served. The
 * middleware fills it; {@link LanyardClient} takes the correlation ID from it. For another thread, carry the context along:
 * {@code Context.current().wrap(task)} or {@code Context.currentContextExecutor(executor)}.
 */
public final class LanyardContext {
    private static final Context.Key<CorrelationId> CORRELATION_ID = Context.key("lanyard-correlation-id");
    private static final Context.Key<Admission> ADMISSION = Context.key("lanyard-admission");

    private LanyardContext() {}

    /** The correlation ID of the request. */
    public static Optional<CorrelationId> correlationId() {
        return Optional.ofNullable(CORRELATION_ID.get());
    }

    /** The session of the user who is calling, if a middleware let them in. */
    public static Optional<VerifiedSession> session() {
        return Optional.ofNullable(ADMISSION.get()).map(Admission::session);
    }

    /** The token of the user who is calling, to act on their behalf: see {@link LanyardClient#onBehalfOf}. */
    public static Optional<Ust> ust() {
        return Optional.ofNullable(ADMISSION.get()).map(Admission::ust);
    }

    /** The current context with a correlation ID: {@code LanyardContext.with(id).run(() -> lanyard.verify(ust))}. */
    public static Context with(CorrelationId correlationId) {
        return Context.current().withValue(CORRELATION_ID, correlationId);
    }

    static Context with(Admission admission) {
        return Context.current().withValues(CORRELATION_ID, admission.correlationId(), ADMISSION, admission);
    }
}
