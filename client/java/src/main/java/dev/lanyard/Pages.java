package dev.lanyard;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * A list that comes page by page. It is an {@link Iterable} of its items; a page is asked for when the one before is used up, and
 * each iteration asks anew.
 */
public final class Pages<T> implements Iterable<T> {
    private final String firstToken;
    private final Function<String, Page<T>> ask;

    Pages(String firstToken, Function<String, Page<T>> ask) {
        this.firstToken = firstToken;
        this.ask = ask;
    }

    /** The first page alone. */
    public Page<T> first() {
        return ask.apply(firstToken);
    }

    /** The pages one by one. After an exception the same page may be asked for again. */
    public Iterable<Page<T>> byPage() {
        return PageIterator::new;
    }

    /** All items, lazily. */
    public Stream<T> stream() {
        return StreamSupport.stream(byPage().spliterator(), false).flatMap(page -> page.items().stream());
    }

    @Override
    public Iterator<T> iterator() {
        return stream().iterator();
    }

    private final class PageIterator implements Iterator<Page<T>> {
        /** {@code null} after the last page. */
        private String nextToken = firstToken;

        @Override
        public boolean hasNext() {
            return nextToken != null;
        }

        @Override
        public Page<T> next() {
            if (nextToken == null) {
                throw new NoSuchElementException("that was the last page");
            }
            Page<T> page = ask.apply(nextToken);
            nextToken = page.isLast() ? null : page.nextPageToken();
            return page;
        }
    }
}
