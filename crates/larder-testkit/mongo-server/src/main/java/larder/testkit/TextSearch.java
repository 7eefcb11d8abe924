package larder.testkit;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Text indexes as MongoDB tells of them, and {@code $text} with one phrase: a document matches that has the phrase in one of
 * the indexed fields. Without such an index the query is refused, as there. Stems and weights are not looked at.
 */
final class TextSearch {
    private static final Pattern PHRASE = Pattern.compile("\"([^\"]+)\"");

    private TextSearch() {}

    /** Rewrites the text indexes of a {@code createIndexes} to the form in which MongoDB keeps and lists them. */
    static Document stored(Document createIndexes) {
        Document rewritten = createIndexes.clone();
        List<Object> indexes = new ArrayList<>();
        for (Object index : (List<?>) createIndexes.get("indexes")) {
            indexes.add(storedIndex((Document) index));
        }
        rewritten.put("indexes", indexes);
        return rewritten;
    }

    private static Document storedIndex(Document index) {
        Document keys = (Document) index.get("key");
        if (!keys.values().contains("text")) {
            return index;
        }
        Document weights = new Document();
        keys.keySet().forEach(field -> weights.put(field, 1));
        Document stored = index.clone();
        stored.put("key", new Document("_fts", "text").append("_ftsx", 1));
        stored.put("weights", weights);
        stored.putIfAbsent("default_language", "english");
        stored.putIfAbsent("language_override", "language");
        stored.put("textIndexVersion", 3);
        return stored;
    }

    /** Whether a query asks for words. */
    static boolean isAsked(Object query) {
        if (query instanceof Document document) {
            return document.containsKey("$text") || document.values().stream().anyMatch(TextSearch::isAsked);
        }
        return query instanceof List<?> list && list.stream().anyMatch(TextSearch::isAsked);
    }

    /** The query with each {@code $text} written as what it means, given the answer to {@code listIndexes}. */
    static Object spelledOut(Object query, Supplier<Document> listIndexes) {
        if (query instanceof List<?> list) {
            return list.stream().map(part -> spelledOut(part, listIndexes)).toList();
        }
        if (!(query instanceof Document document)) {
            return query;
        }
        Document spelledOut = new Document();
        document.forEach((name, value) -> {
            if (name.equals("$text")) {
                spelledOut.put("$or", alternatives((Document) value, indexedFields(listIndexes.get())));
            } else {
                spelledOut.put(name, spelledOut(value, listIndexes));
            }
        });
        return spelledOut;
    }

    private static List<Document> alternatives(Document text, Set<String> fields) {
        Matcher phrase = PHRASE.matcher((String) text.get("$search"));
        if (!phrase.matches()) {
            throw new MongoServerError(2, "BadValue", "this server searches for one phrase in quotes");
        }
        String expression = "(?iu)" + Pattern.quote(phrase.group(1));
        return fields.stream().map(field -> new Document(field, new Document("$regex", expression))).toList();
    }

    private static Set<String> indexedFields(Document listed) {
        for (Object index : (List<?>) ((Document) listed.get("cursor")).get("firstBatch")) {
            if (((Document) index).get("weights") instanceof Document weights) {
                return weights.keySet();
            }
        }
        throw new MongoServerError(27, "IndexNotFound", "text index required for $text query");
    }
}
