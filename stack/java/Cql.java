// Runs a file of CQL on the local Cassandra: stack/cql FILE [KEYSPACE.TABLE]. With a table it also waits
// until each node, as coordinator, can read it from all replicas: only then the nodes know of each other.

import com.datastax.oss.driver.api.core.ConsistencyLevel;
import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.DriverException;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.cql.ResultSet;
import com.datastax.oss.driver.api.core.cql.Row;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import com.datastax.oss.driver.api.core.metadata.Node;
import com.datastax.oss.driver.api.core.metadata.NodeState;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

public final class Cql {
    private static final Duration WAIT_MAX = Duration.ofSeconds(120);

    public static void main(String[] args) throws Exception {
        String text = args[0].equals("-")
            ? new String(System.in.readAllBytes(), StandardCharsets.UTF_8)
            : Files.readString(Path.of(args[0]));
        try (CqlSession session = open()) {
            long end = System.nanoTime() + WAIT_MAX.toNanos();
            Node coordinator = coordinator(session, end);
            for (String statement : statements(text)) {
                print(session.execute(SimpleStatement.newInstance(statement).setNode(coordinator)));
            }
            while (!session.checkSchemaAgreement()) giveUpAfter(end, "the nodes do not agree on one schema");
            if (args.length > 1) awaitReplicas(session, args[1], end);
        } catch (DriverException e) {
            System.err.println(args[0] + ": " + e.getMessage());
            System.exit(1);
        }
    }

    private static CqlSession open() {
        return CqlSession.builder()
            .addContactPoint(new InetSocketAddress("127.0.0.1", 9042))
            .addContactPoint(new InetSocketAddress("127.0.0.2", 9042))
            .addContactPoint(new InetSocketAddress("127.0.0.3", 9042))
            .withLocalDatacenter("datacenter1")
            .withConfigLoader(DriverConfigLoader.programmaticBuilder()
                .withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(60))
                .withDuration(DefaultDriverOption.CONNECTION_CONNECT_TIMEOUT, Duration.ofSeconds(20))
                .withDuration(DefaultDriverOption.CONNECTION_INIT_QUERY_TIMEOUT, Duration.ofSeconds(20))
                .withDuration(DefaultDriverOption.CONTROL_CONNECTION_TIMEOUT, Duration.ofSeconds(20))
                .withBoolean(DefaultDriverOption.METADATA_SCHEMA_ENABLED, false)
                .build())
            .build();
    }

    // One node runs every statement: right after the first start the nodes may not know of each other yet, and
    // then the agreement that the driver waits for after a CREATE says nothing about the node asked next.
    private static Node coordinator(CqlSession session, long end) throws InterruptedException {
        while (true) {
            for (Node node : session.getMetadata().getNodes().values()) {
                if (node.getState() == NodeState.UP) return node;
            }
            giveUpAfter(end, "no node is up");
        }
    }

    private static void awaitReplicas(CqlSession session, String table, long end) throws InterruptedException {
        while (session.getMetadata().getNodes().size() < 3) giveUpAfter(end, "fewer than three nodes joined");
        for (Node node : session.getMetadata().getNodes().values()) {
            while (true) {
                try {
                    session.execute(SimpleStatement.newInstance("SELECT * FROM " + table + " LIMIT 1")
                        .setConsistencyLevel(ConsistencyLevel.ALL).setNode(node));
                    break;
                } catch (DriverException e) {
                    giveUpAfter(end, node.getEndPoint() + " cannot read " + table + " from all replicas: " + e.getMessage());
                }
            }
        }
    }

    private static void giveUpAfter(long end, String why) throws InterruptedException {
        if (System.nanoTime() > end) {
            System.err.println(why);
            System.exit(1);
        }
        Thread.sleep(200);
    }

    private static void print(ResultSet rows) {
        for (Row row : rows) System.out.println(row.getFormattedContents());
    }

    // Splits at semicolons outside of quotes; comments (--, //, /* */) are dropped.
    static List<String> statements(String text) {
        List<String> statements = new ArrayList<>();
        StringBuilder current = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (text.startsWith("--", i) || text.startsWith("//", i)) {
                i = endOf(text, "\n", i) - 1;
                current.append('\n');
            } else if (text.startsWith("/*", i)) {
                i = endOf(text, "*/", i + 2) - 1;
            } else if (c == '\'' || c == '"') {
                int close = endOf(text, String.valueOf(c), i + 1) - 1;
                current.append(text, i, close + 1);
                i = close;
            } else if (c == ';') {
                statements.add(current.toString());
                current.setLength(0);
            } else {
                current.append(c);
            }
        }
        statements.add(current.toString());
        statements.removeIf(String::isBlank);
        return statements;
    }

    // The position after the next `mark`, or the end of the text.
    private static int endOf(String text, String mark, int from) {
        int at = text.indexOf(mark, from);
        return at < 0 ? text.length() : at + mark.length();
    }
}
