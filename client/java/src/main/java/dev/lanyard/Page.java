package dev.lanyard;

import java.util.List;

/**
 * One page of a list.
 *
 * @param items what is listed
 * @param nextPageToken where the next page begins; empty on the last
 */
public record Page<T>(List<T> items, String nextPageToken) {
    /** Whether nothing comes after this page. */
    public boolean isLast() {
        return nextPageToken.isEmpty();
    }
}
