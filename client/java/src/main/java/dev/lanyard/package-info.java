/**
 * The Java client of Lanyard: whose session is this, and is it still good?
 *
 * <p>Begin with {@link dev.lanyard.LanyardClient#builder}. What each call does by itself:
 *
 * <ul>
 *   <li>It has a <b>deadline</b> (2 seconds), told to the server; a deadline of the current {@link io.grpc.Context} that is
 *       earlier counts.
 *   <li>A <i>read</i> that finds the server unavailable is <b>tried again</b> ({@link dev.lanyard.RetryPolicy}); a write never
 *       is.
 *   <li>It carries a <b>correlation ID</b>: of {@link dev.lanyard.LanyardClient#withCorrelationId}, else of the current
 *       context ({@link dev.lanyard.LanyardContext}), else a new one. Every {@link dev.lanyard.LanyardException} names it.
 * </ul>
 *
 * <p>Requests and answers are the messages of the contract, {@code dev.lanyard.v1}. Leave {@code ust} and {@code client} of a
 * request empty: the client fills them in. Where a verb here gives less than its answer holds, {@link
 * dev.lanyard.LanyardClient#call} and {@link dev.lanyard.Subject#call} give the whole.
 */
package dev.lanyard;
