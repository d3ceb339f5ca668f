package dev.lanyard.consumer;

/** What is not as a case expects it. */
final class Problem extends Exception {
    private static final long serialVersionUID = 1;

    Problem(String text) {
        super(text);
    }
}
