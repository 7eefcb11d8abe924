package larder.testkit;

import de.bwaldvogel.mongo.bson.Document;

/** One recorded change. The database's files hold these as documents, so that a restart finds its history. */
record Change(long time, Document body) {
    String operation() {
        return (String) body.get("operationType");
    }

    String database() {
        return (String) namespace().get("db");
    }

    /** The collection; null for a change of a whole database. */
    String collection() {
        return (String) namespace().get("coll");
    }

    Document namespace() {
        return (Document) body.get("ns");
    }

    /** Where a rename went; null for anything else. */
    Document renamedTo() {
        return (Document) body.get("to");
    }
}
