package dev.lanyard;

/** A token is not good, where a good one was demanded: {@link Verdict#orElseThrow}. */
public final class InactiveSessionException extends Exception {
    private static final long serialVersionUID = 1;

    private final transient Verdict.Inactive verdict;

    InactiveSessionException(Verdict.Inactive verdict) {
        super(verdict.toString());
        this.verdict = verdict;
    }

    /** Why the token is not good. */
    public Verdict.Inactive verdict() {
        return verdict;
    }
}
