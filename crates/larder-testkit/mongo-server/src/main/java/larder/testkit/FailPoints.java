package larder.testkit;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import io.netty.channel.Channel;
import io.netty.util.AttributeKey;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * {@code configureFailPoint: "failCommand"} as MongoDB's own test command has it: the next commands of some names fail
 * with a code, lose their connection, or are held for a while. Unlike MongoDB, one can be set per application name, so
 * that tests which share this server do not meet each other's.
 */
final class FailPoints {
    private static final AttributeKey<String> APPLICATION = AttributeKey.valueOf("larder.application");

    private final Map<String, FailPoint> byApplication = new HashMap<>();

    private static final class FailPoint {
        Document data;
        long left;
    }

    /** Keeps the name that a client gives itself in its handshake. */
    void remember(Channel channel, Document hello) {
        if (hello.get("client") instanceof Document client && client.get("application") instanceof Document application) {
            channel.attr(APPLICATION).set((String) application.get("name"));
        }
    }

    synchronized void configure(Document command) {
        Document data = (Document) command.getOrDefault("data", new Document());
        FailPoint point = new FailPoint();
        point.data = data;
        if (command.get("mode") instanceof Document mode) {
            point.left = ((Number) mode.get("times")).longValue();
        } else {
            point.left = "alwaysOn".equals(command.get("mode")) ? Long.MAX_VALUE : 0;
        }
        byApplication.put((String) data.getOrDefault("appName", ""), point);
    }

    /** Fails, delays or cuts this command, if a fail point says so. */
    void apply(Channel channel, String command) {
        Document data = take(channel, command);
        if (data == null) {
            return;
        }
        if (Boolean.TRUE.equals(data.get("blockConnection"))) {
            hold(((Number) data.get("blockTimeMS")).longValue());
        }
        if (Boolean.TRUE.equals(data.get("closeConnection"))) {
            channel.close();
            throw new MongoServerError(6, "HostUnreachable", "the connection was closed by a fail point");
        }
        if (data.get("errorCode") instanceof Number code) {
            throw new MongoServerError(code.intValue(), "Failing command via 'failCommand' failpoint");
        }
    }

    private synchronized Document take(Channel channel, String command) {
        String application = channel.attr(APPLICATION).get();
        FailPoint point = byApplication.getOrDefault(application == null ? "" : application, byApplication.get(""));
        if (point == null || point.left == 0 || !((List<?>) point.data.get("failCommands")).contains(command)) {
            return null;
        }
        point.left--;
        return point.data;
    }

    private static void hold(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
