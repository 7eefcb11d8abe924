package larder.testkit;

import de.bwaldvogel.mongo.bson.Document;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Options of collections, as {@code create} and {@code collMod} set them and {@code listCollections} tells them.
 * Nothing is held to them, and they are gone with the process.
 */
final class Options {
    private static final List<String> KEPT = List.of("validator", "validationLevel", "validationAction", "collation");

    private final Map<String, Document> byNamespace = new ConcurrentHashMap<>();

    /** Keeps what a command says of a collection. */
    void remember(String database, String collection, Document command) {
        Document options = byNamespace.computeIfAbsent(database + "." + collection, name -> new Document());
        for (String option : KEPT) {
            if (command.containsKey(option)) {
                options.put(option, command.get(option));
            }
        }
    }

    /** Adds what is kept to the answer to {@code listCollections}. */
    Document tell(String database, Document answer) {
        Document cursor = (Document) answer.get("cursor");
        for (Object listed : (List<?>) cursor.get("firstBatch")) {
            Document collection = (Document) listed;
            Document kept = byNamespace.get(database + "." + collection.get("name"));
            if (kept != null) {
                collection.put("options", kept.cloneDeeply());
            }
        }
        return answer;
    }
}
