package larder.testkit;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;

/**
 * A point in the change history: just behind an event, behind the invalidation that an event caused, or behind
 * everything up to a time. Opaque to clients, like MongoDB's.
 */
record ResumeToken(long time, Kind kind) implements Comparable<ResumeToken> {
    enum Kind {
        EVENT,
        INVALIDATE,
        MARK
    }

    private static final int INVALID_RESUME_TOKEN = 260;

    Document toDocument() {
        return new Document("_data", "82%016X2B%02X".formatted(time, kind.ordinal()));
    }

    static ResumeToken parse(Object token) {
        if (token instanceof Document document
                && document.get("_data") instanceof String data
                && data.matches("82[0-9A-F]{16}2B0[0-2]")) {
            long time = Long.parseUnsignedLong(data.substring(2, 18), 16);
            return new ResumeToken(time, Kind.values()[data.charAt(data.length() - 1) - '0']);
        }
        throw refused("the resume token is not one of this server");
    }

    static MongoServerError refused(String reason) {
        return new MongoServerError(INVALID_RESUME_TOKEN, "InvalidResumeToken", reason);
    }

    @Override
    public int compareTo(ResumeToken other) {
        int byTime = Long.compare(time, other.time);
        return byTime != 0 ? byTime : kind.compareTo(other.kind);
    }
}
