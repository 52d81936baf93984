import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.opensearch.Version;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.Node;
import org.opensearch.plugins.PluginInfo;

/** Starts one OpenSearch node without its distribution: arguments are the home folder, then settings as name=value. */
final class Launcher extends Node {
    private Launcher(Environment environment, Collection<PluginInfo> plugins) {
        super(environment, plugins, true);
    }

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Settings.Builder builder = Settings.builder().put("path.home", home.toString());
        for (int i = 1; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            builder.put(pair[0], pair[1]);
        }
        Settings settings = builder.build();
        LogConfigurator.registerErrorListener();
        LogConfigurator.configureWithoutConfig(settings);
        PluginInfo network = new PluginInfo("transport-netty4", "HTTP", "NA", Version.CURRENT, "21",
            "org.opensearch.transport.Netty4ModulePlugin", List.of(), false);
        Launcher node = new Launcher(new Environment(settings, home.resolve("config")), List.of(network));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (java.io.IOException ignored) {
                // the process is ending
            }
        }));
        node.start();
        new CountDownLatch(1).await();  // its own threads are all daemons
    }
}
