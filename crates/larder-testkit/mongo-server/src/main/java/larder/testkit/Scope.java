package larder.testkit;

import de.bwaldvogel.mongo.bson.Document;
import java.util.Objects;
import java.util.Set;

/** What a change stream watches: a collection, a database (no collection), or the whole server (neither). */
record Scope(String database, String collection) {
    private static final Set<String> INTERNAL = Set.of("admin", "config", "local");

    boolean covers(Change change) {
        if (INTERNAL.contains(change.database())) {
            return false;
        }
        return covers(change.namespace()) || (change.renamedTo() != null && covers(change.renamedTo()));
    }

    private boolean covers(Document namespace) {
        return (database == null || database.equals(namespace.get("db")))
                && (collection == null || collection.equals(namespace.get("coll")));
    }

    /** Whether a change that this scope covers ends the stream. The whole server cannot go away. */
    boolean isEndedBy(Change change) {
        return switch (change.operation()) {
            case "drop", "rename" -> collection != null;
            case "dropDatabase" -> collection == null && Objects.equals(database, change.database());
            default -> false;
        };
    }

    boolean overlaps(String namespace) {
        if (database == null) {
            return true;
        }
        return namespace.equals(database)
                || (collection == null ? namespace.startsWith(database + ".") : namespace.equals(toString()));
    }

    @Override
    public String toString() {
        return database + "." + (collection == null ? "$cmd.aggregate" : collection);
    }
}
