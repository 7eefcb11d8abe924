package larder.testkit;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.ArrayFilters;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.oplog.Oplog;
import java.util.List;
import org.h2.mvstore.MVMap;

/**
 * A collection that records every change where it happens, in the store, and hands out copies only.
 *
 * <p>The library's own hook for change streams is called per command: it never hears of findAndModify, and hears of
 * inserts that were refused. And its store hands out the very objects it keeps, so that a reader can see half an update.
 */
final class RecordingCollection extends H2Collection {
    private final ChangeLog log;
    /** The update being applied; guarded, like every write, by this collection's monitor. */
    private Document update;

    RecordingCollection(
            MongoDatabase database,
            String name,
            CollectionOptions options,
            MVMap<Object, Document> data,
            MVMap<String, Object> meta,
            CursorRegistry cursors,
            ChangeLog log) {
        super(database, name, options, data, meta, cursors);
        this.log = log;
    }

    @Override
    protected QueryResult createQueryResult(List<Document> matched, int batchSize) {
        return super.createQueryResult(matched.stream().map(Document::cloneDeeply).toList(), batchSize);
    }

    @Override
    public synchronized Document findAndModify(Document query) {
        update = (Document) query.get("update");
        return super.findAndModify(query);
    }

    @Override
    public synchronized Document updateDocuments(
            Document selector, Document change, ArrayFilters filters, boolean multi, boolean upsert, Oplog oplog) {
        update = change;
        return super.updateDocuments(selector, change, filters, multi, upsert, oplog);
    }

    @Override
    protected Object addDocumentInternal(Document document) {
        Object position = super.addDocumentInternal(document.cloneDeeply());
        record("insert", document, new Document("fullDocument", document.cloneDeeply()));
        return position;
    }

    @Override
    protected void handleUpdate(Object position, Document before, Document after) {
        Document stored = after.cloneDeeply();
        super.handleUpdate(position, before, stored);
        if (update.keySet().stream().anyMatch(key -> key.startsWith("$"))) {
            record("update", after, new Document("updateDescription", UpdateDescription.of(before, stored, update)));
        } else {
            record("replace", after, new Document("fullDocument", stored));
        }
    }

    @Override
    protected void removeDocument(Object position) {
        Document document = getDocument(position);
        super.removeDocument(position);
        record("delete", document, new Document());
    }

    private void record(String operation, Document document, Document details) {
        if (getCollectionName().startsWith("system.")) {
            return;
        }
        Document namespace = new Document("db", getDatabaseName()).append("coll", getCollectionName());
        details.put("documentKey", new Document("_id", document.get("_id")));
        log.append(operation, namespace, details);
    }
}
