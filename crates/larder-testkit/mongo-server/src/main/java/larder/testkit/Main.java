package larder.testkit;

import de.bwaldvogel.mongo.MongoVersion;
import java.util.List;
import org.h2.mvstore.MVStore;

/**
 * Starts the server: {@code Main PORT [FILE]}. With a file, data and change history outlive the process, even when it
 * is killed: every acknowledged write has been handed to the operating system. Its owner ends it with a signal.
 */
public final class Main {
    /** Enough for a test's data: a page that is not in memory has to be read by Java's own serialization, which is slow. */
    private static final int PAGES_IN_MEMORY_MIB = 512;

    private Main() {}

    public static void main(String[] args) throws InterruptedException {
        int port = Integer.parseInt(args[0]);
        MVStore.Builder store = new MVStore.Builder().autoCommitDisabled().cacheSize(PAGES_IN_MEMORY_MIB);
        if (args.length > 1) {
            store.fileName(args[1]);
        }
        Backend backend = new Backend(store.open());
        backend.version(new Seven());
        new Listener(backend).bind(port);
        Thread.currentThread().join();
    }

    /** What the server says of itself: the oldest version whose behaviour the product relies on. */
    private static final class Seven implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(7, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 21;
        }
    }
}
