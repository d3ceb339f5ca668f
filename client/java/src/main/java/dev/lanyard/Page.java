package dev.lanyard;

import com.google.protobuf.DebugFormat;
import com.google.protobuf.Message;
import java.util.List;
import java.util.stream.Collectors;

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

    /** Shows nothing of what the contract marks as secret, such as the values of attributes. */
    @Override
    public String toString() {
        String shown = items.stream().map(Page::shown).collect(Collectors.joining(", "));
        return "Page[items=[" + shown + "], nextPageToken=" + nextPageToken + "]";
    }

    private static String shown(Object item) {
        return item instanceof Message message ? DebugFormat.singleLine().toString(message) : String.valueOf(item);
    }
}
