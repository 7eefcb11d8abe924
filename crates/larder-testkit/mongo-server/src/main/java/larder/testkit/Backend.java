package larder.testkit;

import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.Cursor;
import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.backend.aggregation.Aggregation;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import de.bwaldvogel.mongo.oplog.NoopOplog;
import io.netty.channel.Channel;
import java.util.List;
import java.util.Set;
import org.h2.mvstore.MVStore;

/**
 * The library's backend, with what it lacks: {@code hello}, change streams as MongoDB documents them, searches for words, fail
 * points, options that are told (and not enforced), and writes that are in the file when they are acknowledged.
 *
 * <p>{@code {larderForgetChanges: ""}}, or a database, or a namespace, on {@code admin}: loses the change history so far.
 */
final class Backend extends H2Backend {
    private static final Set<String> WRITES = Set.of(
            "insert", "update", "delete", "findAndModify", "create", "drop", "dropDatabase", "renameCollection",
            "createIndexes", "dropIndexes", "aggregate");
    private static final long DEFAULT_AWAIT_MILLISECONDS = 1000;

    private final FailPoints failPoints = new FailPoints();
    private final Options options = new Options();
    private final Object writing = new Object();
    /** Without an initialiser, which would undo what the super constructor sets by opening databases. */
    private Storage storage;

    Backend(MVStore store) {
        super(store);
    }

    /** Made once, whichever of several clients comes first: a second one would have a history of its own. */
    private synchronized Storage storage() {
        if (storage == null) {
            storage = new Storage(getMvStore(), getCursorRegistry());
        }
        return storage;
    }

    @Override
    protected MongoDatabase openOrCreateDatabase(String name) {
        return storage().open(name);
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document query) {
        failPoints.apply(channel, command);
        return answer(channel, database, command, plain(channel, database, command, query));
    }

    /** The command without text indexes and {@code $text}, which the library does not know. */
    private Document plain(Channel channel, String database, String command, Document query) {
        if (command.equals("createIndexes")) {
            return TextSearch.stored(query);
        }
        String asked = command.equals("find") ? "filter" : command.equals("aggregate") ? "pipeline" : null;
        if (asked == null || !TextSearch.isAsked(query.get(asked))) {
            return query;
        }
        Document plain = query.clone();
        plain.put(asked, TextSearch.spelledOut(query.get(asked), () -> super.handleCommand(
                channel, database, "listIndexes", new Document("listIndexes", query.get(command)))));
        return plain;
    }

    private Document answer(Channel channel, String database, String command, Document query) {
        switch (command) {
            case "hello", "isMaster", "ismaster":
                failPoints.remember(channel, query);
                return hello(channel, database, query);
            case "configureFailPoint":
                failPoints.configure(query);
                return okay();
            case "larderForgetChanges":
                storage().log().forget((String) query.get(command));
                return okay();
            case "collMod":
                options.remember(database, (String) query.get(command), query);
                return okay();
            case "create":
                options.remember(database, (String) query.get(command), query);
                break;
            case "listCollections":
                return options.tell(database, super.handleCommand(channel, database, command, query));
            case "renameCollection":
                return writing(() -> rename(query));
            case "aggregate":
                List<Document> stages = Aggregation.parse(query.get("pipeline"));
                if (!stages.isEmpty() && stages.get(0).get("$changeStream") instanceof Document options) {
                    return watch(database, query, options, stages.subList(1, stages.size()));
                }
                if (stages.stream().noneMatch(stage -> stage.containsKey("$out") || stage.containsKey("$merge"))) {
                    return super.handleCommand(channel, database, command, query);
                }
                break;
            default:
                break;
        }
        if (WRITES.contains(command)) {
            return writing(() -> super.handleCommand(channel, database, command, query));
        }
        return super.handleCommand(channel, database, command, query);
    }

    private Document hello(Channel channel, String database, Document query) {
        Document answer = super.handleCommand(channel, database, "ismaster", query);
        return answer.append("isWritablePrimary", true).append("helloOk", true).append("readOnly", false);
    }

    private interface Write {
        Document apply();
    }

    /** One write at a time, so that a commit holds whole commands: the data together with its history. */
    private Document writing(Write write) {
        synchronized (writing) {
            try {
                return write.apply();
            } finally {
                if (!isInMemory()) {
                    commit();
                }
            }
        }
    }

    private Document rename(Document query) {
        String from = (String) query.get("renameCollection");
        String to = (String) query.get("to");
        Document source = namespace(from);
        Document target = namespace(to);
        MongoDatabase oldDatabase = resolveDatabase((String) source.get("db"));
        MongoDatabase newDatabase = resolveDatabase((String) target.get("db"));
        MongoCollection<?> collection = oldDatabase.resolveCollection((String) source.get("coll"), false);
        if (collection == null) {
            throw new MongoServerError(26, "NamespaceNotFound", "Source collection " + from + " does not exist");
        }
        String newName = (String) target.get("coll");
        if (newDatabase.resolveCollection(newName, false) != null) {
            if (from.equals(to) || !Utils.isTrue(query.get("dropTarget"))) {
                throw new MongoServerError(48, "NamespaceExists", "target namespace exists");
            }
            storage().log().withoutRecording(() -> newDatabase.dropCollection(newName, NoopOplog.get()));
        }
        newDatabase.moveCollection(oldDatabase, collection, newName);
        storage().log().append("rename", source, new Document("to", target));
        return okay();
    }

    private static Document namespace(String fullName) {
        return new Document("db", Utils.getDatabaseNameFromFullName(fullName))
                .append("coll", Utils.getCollectionNameFromFullName(fullName));
    }

    private Document watch(String database, Document query, Document options, List<Document> stages) {
        boolean isCollection = query.get("aggregate") instanceof String;
        boolean isServer = Utils.isTrue(options.get("allChangesForCluster"));
        Scope scope = new Scope(isServer ? null : database, isCollection ? (String) query.get("aggregate") : null);
        Aggregation pipeline =
                Aggregation.fromPipeline(stages, this::resolveDatabase, resolveDatabase(database), null, NoopOplog.get());
        ChangeStream stream = new ChangeStream(
                getCursorRegistry().generateCursorId(), storage().log(), scope, options, pipeline, this::present);
        getCursorRegistry().add(stream);
        int batchSize = ((Number) ((Document) query.get("cursor")).getOrDefault("batchSize", 0)).intValue();
        return batch(stream, database + "." + (isCollection ? scope.collection() : "$cmd.aggregate"), "firstBatch", batchSize);
    }

    /** The present state of the document that a change was about, or null. */
    private Document present(Change change) {
        MongoCollection<?> collection = resolveDatabase(change.database()).resolveCollection(change.collection(), false);
        if (collection == null) {
            return null;
        }
        Document key = (Document) change.body().get("documentKey");
        return collection.handleQueryAsStream(key).findFirst().orElse(null);
    }

    @Override
    protected Document handleGetMore(String database, String command, Document query) {
        Cursor cursor = getCursorRegistry().getCursor(((Number) query.get(command)).longValue());
        if (!(cursor instanceof ChangeStream stream)) {
            return super.handleGetMore(database, command, query);
        }
        Number patience = (Number) query.getOrDefault("maxTimeMS", DEFAULT_AWAIT_MILLISECONDS);
        int batchSize = ((Number) query.getOrDefault("batchSize", 0)).intValue();
        stream.await(patience.longValue());
        return batch(stream, database + "." + query.get("collection"), "nextBatch", batchSize);
    }

    private Document batch(ChangeStream stream, String namespace, String name, int batchSize) {
        List<Document> events = stream.takeDocuments(batchSize);
        if (stream.isEmpty()) {
            getCursorRegistry().remove(stream);
        }
        Document cursor = new Document("id", stream.isEmpty() ? 0L : stream.getId())
                .append("ns", namespace)
                .append(name, events)
                .append("postBatchResumeToken", stream.position().toDocument());
        return okay().append("cursor", cursor);
    }

    private static Document okay() {
        return new Document("ok", 1.0);
    }
}
