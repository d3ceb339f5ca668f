package dev.lanyard;

import java.time.Duration;

/** Times of the wire as times of Java. */
final class Durations {
    private Durations() {}

    static Duration toJava(com.google.protobuf.Duration duration) {
        return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
    }
}
