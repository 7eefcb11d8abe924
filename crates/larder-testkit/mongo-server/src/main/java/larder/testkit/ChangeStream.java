package larder.testkit;

import de.bwaldvogel.mongo.backend.AbstractCursor;
import de.bwaldvogel.mongo.backend.aggregation.Aggregation;
import de.bwaldvogel.mongo.bson.BsonTimestamp;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;

/** An open change stream: a cursor that never runs dry until its collection goes away. */
final class ChangeStream extends AbstractCursor {
    private static final int NO_MATCHING_DOCUMENT = 47;

    private final ChangeLog log;
    private final Scope scope;
    private final Aggregation pipeline;
    private final String fullDocument;
    private final Function<Change, Document> lookUp;

    private ResumeToken position;
    private boolean ended;

    /**
     * @param options the body of the {@code $changeStream} stage
     * @param pipeline the stages behind it
     * @param lookUp finds the present state of a change's document, or null
     */
    ChangeStream(
            long id,
            ChangeLog log,
            Scope scope,
            Document options,
            Aggregation pipeline,
            Function<Change, Document> lookUp) {
        super(id);
        this.log = log;
        this.scope = scope;
        this.pipeline = pipeline;
        this.fullDocument = (String) options.getOrDefault("fullDocument", "default");
        this.lookUp = lookUp;
        this.position = start(options);
        log.checkKept(position, scope);
    }

    private ResumeToken start(Document options) {
        Object resumeAfter = options.get("resumeAfter");
        Object startAfter = options.get("startAfter");
        Object startAt = options.get("startAtOperationTime");
        if (resumeAfter != null) {
            ResumeToken token = ResumeToken.parse(resumeAfter);
            if (token.kind() == ResumeToken.Kind.INVALIDATE) {
                throw ResumeToken.refused(
                        "resumeAfter cannot take the token of an invalidate event; startAfter can");
            }
            return token;
        }
        if (startAfter != null) {
            return ResumeToken.parse(startAfter);
        }
        if (startAt instanceof BsonTimestamp timestamp) {
            return new ResumeToken(timestamp.getValue() - 1, ResumeToken.Kind.MARK);
        }
        return log.now();
    }

    /** The point from which a client that saw everything so far would resume. */
    synchronized ResumeToken position() {
        return position;
    }

    /** Waits until there may be something to take. */
    void await(long milliseconds) {
        try {
            log.await(position(), milliseconds);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public synchronized boolean isEmpty() {
        return ended;
    }

    @Override
    public synchronized List<Document> takeDocuments(int limit) {
        log.checkKept(position, scope);
        List<Document> batch = new ArrayList<>();
        // Taken before the changes are read: a change that comes in between is found again by the next call.
        ResumeToken mark = log.now();
        for (Change change : log.since(position.time())) {
            if (!scope.covers(change)) {
                continue;
            }
            emit(batch, change, ResumeToken.Kind.EVENT);
            if (scope.isEndedBy(change) && !isFull(batch, limit)) {
                // Not ended by what lies before the start: startAfter goes on behind an invalidation.
                ended = emit(batch, change, ResumeToken.Kind.INVALIDATE);
            }
            if (ended || isFull(batch, limit)) {
                return batch;
            }
        }
        if (mark.compareTo(position) > 0) {
            position = mark;
        }
        return batch;
    }

    private static boolean isFull(List<Document> batch, int limit) {
        return limit > 0 && batch.size() >= limit;
    }

    /** Adds an event to the batch, unless the pipeline holds it back. False when the stream is past it already. */
    private boolean emit(List<Document> batch, Change change, ResumeToken.Kind kind) {
        ResumeToken token = new ResumeToken(change.time(), kind);
        if (token.compareTo(position) <= 0) {
            return false;
        }
        position = token;
        Document event = new Document("_id", token.toDocument());
        if (kind == ResumeToken.Kind.INVALIDATE) {
            event.append("operationType", "invalidate");
        } else {
            event.append("operationType", change.operation());
        }
        event.append("clusterTime", new BsonTimestamp(change.time())).append("wallTime", change.body().get("wallTime"));
        if (kind == ResumeToken.Kind.EVENT) {
            appendDetails(event, change);
        }
        pipeline.runStagesAsStream(Stream.of(event)).forEach(batch::add);
        return true;
    }

    private void appendDetails(Document event, Change change) {
        for (String field : List.of("fullDocument", "ns", "to", "documentKey", "updateDescription")) {
            if (change.body().containsKey(field)) {
                event.append(field, change.body().get(field));
            }
        }
        if (change.operation().equals("update")) {
            switch (fullDocument) {
                case "updateLookup" -> event.append("fullDocument", lookUp.apply(change));
                // Images of updates are off unless a collection asks for them, and none here can.
                case "whenAvailable" -> event.append("fullDocument", null);
                case "required" ->
                    throw new MongoServerError(
                            NO_MATCHING_DOCUMENT, "NoMatchingDocument", "the post-image of the update is not available");
                default -> {}
            }
        }
    }
}
