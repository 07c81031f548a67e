// Creates and deletes topics on the local brokers: stack/topic create NAME PARTITIONS [key=value...] | delete NAME... | apply FILE.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

public final class Topic {
    private static final short REPLICAS = 3;
    private static final long END = System.nanoTime() + 120_000_000_000L;

    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094",
            "default.api.timeout.ms", "60000");
        try (Admin admin = Admin.create(settings)) {
            switch (args[0]) {
                case "create" -> create(admin, List.of(parse(Arrays.asList(args).subList(1, args.length))));
                case "apply" -> create(admin, parseFile(Path.of(args[1])));
                case "delete" -> delete(admin, Arrays.asList(args).subList(1, args.length));
                default -> throw new IllegalArgumentException("create, delete or apply, not " + args[0]);
            }
        } catch (ExecutionException e) {
            fail(e.getCause().getMessage());
        } catch (IllegalArgumentException e) {
            fail(e.getMessage());
        }
    }

    private static void create(Admin admin, List<NewTopic> topics) throws Exception {
        while (admin.describeCluster().nodes().get().size() < REPLICAS) pause("fewer than three brokers joined");
        var results = admin.createTopics(topics).values();
        for (NewTopic topic : topics) {
            try {
                results.get(topic.name()).get();
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof TopicExistsException)) throw e;
                keep(admin, topic);
            }
        }
        List<String> names = topics.stream().map(NewTopic::name).toList();
        while (!ready(admin, names)) pause("not every replica of " + names + " is in sync");
    }

    // An existing topic keeps its records and gets the settings; more partitions would move its keys, so that is refused.
    private static void keep(Admin admin, NewTopic topic) throws Exception {
        TopicDescription found = admin.describeTopics(List.of(topic.name())).allTopicNames().get().get(topic.name());
        if (found.partitions().size() != topic.numPartitions()) {
            fail("topic " + topic.name() + " exists with " + found.partitions().size() + " partitions, not "
                + topic.numPartitions() + "; delete it first");
        }
        Collection<AlterConfigOp> changes = new ArrayList<>();
        topic.configs().forEach((key, value) ->
            changes.add(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET)));
        if (changes.isEmpty()) return;
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic.name()), changes)).all().get();
    }

    private static boolean ready(Admin admin, List<String> names) throws Exception {
        try {
            return admin.describeTopics(names).allTopicNames().get().values().stream()
                .flatMap(topic -> topic.partitions().stream())
                .allMatch(partition -> partition.leader() != null && !partition.leader().isEmpty()
                    && partition.isr().size() == partition.replicas().size());
        } catch (ExecutionException e) {
            if (e.getCause() instanceof UnknownTopicOrPartitionException) return false;   // a broker that is behind
            throw e;
        }
    }

    private static void delete(Admin admin, List<String> names) throws Exception {
        for (var result : admin.deleteTopics(names).topicNameValues().values()) {
            try {
                result.get();
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof UnknownTopicOrPartitionException)) throw e;
            }
        }
        while (admin.listTopics().names().get().stream().anyMatch(names::contains)) pause(names + " are still there");
    }

    private static List<NewTopic> parseFile(Path file) throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            if (!line.isBlank() && !line.startsWith("#")) topics.add(parse(Arrays.asList(line.trim().split("\\s+"))));
        }
        return topics;
    }

    private static NewTopic parse(List<String> words) {
        if (words.size() < 2) throw new IllegalArgumentException("a topic needs a name and a number of partitions");
        Map<String, String> configs = new HashMap<>();
        for (String word : words.subList(2, words.size())) {
            int equals = word.indexOf('=');
            if (equals < 1) throw new IllegalArgumentException("'" + word + "' is not key=value");
            configs.put(word.substring(0, equals), word.substring(equals + 1));
        }
        return new NewTopic(words.get(0), Integer.parseInt(words.get(1)), REPLICAS).configs(configs);
    }

    private static void pause(String why) throws InterruptedException {
        if (System.nanoTime() > END) fail(why);
        Thread.sleep(200);
    }

    private static void fail(String why) {
        System.err.println("topic: " + why);
        System.exit(1);
    }
}
