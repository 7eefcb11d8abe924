package larder.testkit;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.h2.mvstore.MVMap;
import org.h2.mvstore.MVStore;

/**
 * The history of changes, in commit order, each under its own cluster time. It lives in the same store as the data, so
 * both are committed together.
 *
 * <p>Events take the form of MongoDB's manual, "Change Events": what a stream adds by its options (full documents on
 * update, invalidations) is not stored.
 */
final class ChangeLog {
    private static final int CHANGES_KEPT = 100_000;
    private static final int CHANGE_STREAM_HISTORY_LOST = 286;
    private static final String EVERYTHING = "";

    private final MVMap<Long, Document> changes;
    /** Up to which time history is lost, per namespace. */
    private final MVMap<String, Long> lost;

    private long lastTime;
    private boolean muted;

    ChangeLog(MVStore store) {
        changes = store.openMap("$changes", new MVMap.Builder<Long, Document>().valueType(new DocumentType()));
        lost = store.openMap("$changes.lost");
        lastTime = seconds(Instant.now());
        if (!changes.isEmpty()) {
            lastTime = Math.max(lastTime, changes.lastKey());
        }
        lost.putIfAbsent(EVERYTHING, lastTime);
    }

    /** Appends a change and wakes the streams that wait for one. */
    synchronized void append(String operation, Document namespace, Document details) {
        if (muted) {
            return;
        }
        lastTime = Math.max(lastTime + 1, seconds(Instant.now()) + 1);
        Document body = new Document("operationType", operation)
                .append("wallTime", Instant.now())
                .append("ns", namespace);
        body.putAll(details);
        changes.put(lastTime, body);
        if (changes.size() > CHANGES_KEPT) {
            Long oldest = changes.firstKey();
            changes.remove(oldest);
            lost.put(EVERYTHING, oldest);
        }
        notifyAll();
    }

    /** Runs a step whose writes are not changes of their own: the copying inside a rename. */
    void withoutRecording(Runnable step) {
        setMuted(true);
        try {
            step.run();
        } finally {
            setMuted(false);
        }
    }

    private synchronized void setMuted(boolean value) {
        muted = value;
    }

    /** The point behind everything that has happened. */
    synchronized ResumeToken now() {
        return new ResumeToken(lastTime, ResumeToken.Kind.MARK);
    }

    /** The changes at and behind a time, oldest first. */
    synchronized List<Change> since(long time) {
        List<Change> found = new ArrayList<>();
        Iterator<Long> times = changes.keyIterator(time);
        while (times.hasNext()) {
            Long at = times.next();
            found.add(new Change(at, changes.get(at)));
        }
        return found;
    }

    /** Waits until something happens behind a point, for so long at most. */
    synchronized void await(ResumeToken point, long milliseconds) throws InterruptedException {
        long deadline = System.nanoTime() + milliseconds * 1_000_000;
        long left = milliseconds;
        while (lastTime <= point.time() && left > 0) {
            wait(left);
            left = (deadline - System.nanoTime()) / 1_000_000;
        }
    }

    /** Loses the history of a namespace, a database ("db") or, given "", of everything. Later changes are kept. */
    synchronized void forget(String namespace) {
        lost.put(namespace, lastTime);
    }

    /** Refuses a point whose changes can no longer all be told. */
    synchronized void checkKept(ResumeToken point, Scope scope) {
        for (Map.Entry<String, Long> entry : lost.entrySet()) {
            String namespace = entry.getKey();
            boolean concerned = namespace.equals(EVERYTHING) || scope.overlaps(namespace);
            if (concerned && point.time() < entry.getValue()) {
                throw new MongoServerError(
                        CHANGE_STREAM_HISTORY_LOST,
                        "ChangeStreamHistoryLost",
                        "Resume of change stream was not possible, as the resume point may no longer be in the oplog.");
            }
        }
    }

    private static long seconds(Instant instant) {
        return instant.getEpochSecond() << 32;
    }
}
