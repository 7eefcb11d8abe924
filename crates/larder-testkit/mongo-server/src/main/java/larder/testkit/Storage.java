package larder.testkit;

import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.oplog.NoopOplog;
import de.bwaldvogel.mongo.oplog.Oplog;
import java.util.List;
import org.h2.mvstore.MVMap;
import org.h2.mvstore.MVStore;

/** The databases and the history of their changes, in one store. */
final class Storage {
    private static final String DATA = "databases.";
    private static final String META = "meta.";
    private static final String NAMES = "system.namespaces";
    private static final String INDEXES = "system.indexes";

    private final MVStore store;
    private final CursorRegistry cursors;
    private final ChangeLog log;

    Storage(MVStore store, CursorRegistry cursors) {
        this.store = store;
        this.cursors = cursors;
        this.log = new ChangeLog(store);
    }

    ChangeLog log() {
        return log;
    }

    Database open(String name) {
        return new Database(name);
    }

    /**
     * A database of {@link RecordingCollection}s. Dropping "shop" in the library also removed the files of "shop2";
     * here it does not.
     *
     * <p>An inner class on purpose: the library's constructor already opens collections, when the fields of a subclass
     * are not set yet, but its outer instance is.
     */
    final class Database extends H2Database {
        private Database(String name) {
            super(name, store, cursors);
        }

        @Override
        protected MongoCollection<Object> openOrCreateCollection(String name, CollectionOptions options) {
            String fullName = getFullCollectionNamespace(name);
            MVMap<Object, Document> data =
                    store.openMap(DATA + fullName, new MVMap.Builder<Object, Document>().valueType(new DocumentType()));
            MVMap<String, Object> meta = store.openMap(META + fullName);
            return new RecordingCollection(this, name, options, data, meta, cursors, log);
        }

        @Override
        public void dropCollection(String name, Oplog oplog) {
            super.dropCollection(name, oplog);
            if (!name.startsWith("system.")) {
                log.append("drop", new Document("db", databaseName).append("coll", name), new Document());
            }
        }

        @Override
        public void drop(Oplog oplog) {
            for (Document entry : List.copyOf(documents(NAMES))) {
                String fullName = (String) entry.get("name");
                dropCollection(fullName.substring(databaseName.length() + 1), oplog);
            }
            for (String name : List.of(NAMES, INDEXES)) {
                store.removeMap(DATA + getFullCollectionNamespace(name));
                store.removeMap(META + getFullCollectionNamespace(name));
            }
            log.append("dropDatabase", new Document("db", databaseName), new Document());
        }

        /** Moves a collection here by copying it; the library's own move leaves two collections on one file. */
        @Override
        public void moveCollection(MongoDatabase from, MongoCollection<?> collection, String newName) {
            Database source = (Database) from;
            String oldName = collection.getCollectionName();
            List<Document> documents = source.documents(oldName);
            List<Document> indexes = source.documents(INDEXES).stream()
                    .filter(index -> collection.getFullName().equals(index.get("ns")))
                    .toList();
            log.withoutRecording(() -> {
                MongoCollection<?> target = createCollectionOrThrowIfExists(newName);
                for (Document index : indexes) {
                    Document moved = index.cloneDeeply();
                    moved.remove("_id");
                    moved.put("ns", getFullCollectionNamespace(newName));
                    addIndex(moved);
                }
                target.insertDocuments(documents, true);
                source.dropCollection(oldName, NoopOplog.get());
            });
        }

        private List<Document> documents(String name) {
            MongoCollection<Object> collection = resolveCollection(name, false);
            return collection == null ? List.of() : collection.queryAllAsStream().toList();
        }
    }
}
