package larder.testkit;

import de.bwaldvogel.mongo.bson.Document;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/** Tells an update the way MongoDB's change events do: the paths that the operators touched, with their new values. */
final class UpdateDescription {
    private final Document before;
    private final Document after;
    private final Document updated = new Document();
    private final Set<String> removed = new LinkedHashSet<>();

    private UpdateDescription(Document before, Document after) {
        this.before = before;
        this.after = after;
    }

    static Document of(Document before, Document after, Document update) {
        UpdateDescription description = new UpdateDescription(before, after);
        for (String operator : update.keySet()) {
            Document paths = (Document) update.get(operator);
            for (String path : paths.keySet()) {
                description.touch(path);
                if (operator.equals("$rename")) {
                    description.touch((String) paths.get(path));
                }
            }
        }
        return new Document("updatedFields", description.updated)
                .append("removedFields", new ArrayList<>(description.removed))
                .append("truncatedArrays", new ArrayList<>());
    }

    private void touch(String operatorPath) {
        String path = firstNewAncestor(withoutPositions(operatorPath));
        Object old = at(before, path);
        Object now = at(after, path);
        if (old.equals(now)) {
            return;
        }
        if (now == ABSENT) {
            removed.add(path);
        } else if (old instanceof List<?> oldList && now instanceof List<?> newList && isGrown(oldList, newList)) {
            for (int index = oldList.size(); index < newList.size(); index++) {
                updated.put(path + "." + index, newList.get(index));
            }
        } else {
            updated.put(path, now == NULL ? null : now);
        }
    }

    /** An array that a positional operator changes is told whole. */
    private static String withoutPositions(String path) {
        int position = path.indexOf(".$");
        return position < 0 ? path : path.substring(0, position);
    }

    /** When an update made a whole branch, the branch is what is new, not its leaf. */
    private String firstNewAncestor(String path) {
        for (int dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
            String ancestor = path.substring(0, dot);
            if (at(before, ancestor) == ABSENT) {
                return ancestor;
            }
        }
        return path;
    }

    private static boolean isGrown(List<?> before, List<?> after) {
        return after.size() > before.size() && Objects.equals(before, after.subList(0, before.size()));
    }

    private static final Object ABSENT = new Object();
    private static final Object NULL = new Object();

    private static Object at(Object value, String path) {
        for (String name : path.split("\\.")) {
            if (value instanceof Document document && document.containsKey(name)) {
                value = document.get(name);
            } else if (value instanceof List<?> list && name.matches("\\d{1,6}") && Integer.parseInt(name) < list.size()) {
                value = list.get(Integer.parseInt(name));
            } else {
                return ABSENT;
            }
        }
        return value == null ? NULL : value;
    }
}
