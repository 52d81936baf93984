import java.sql.DriverManager;
import java.sql.SQLException;

/** Asks what the server says of its TLS with this connection, cancels a query of its own, and prints both. */
final class Ask {
    public static void main(String[] words) throws Exception {
        try (var connection = DriverManager.getConnection(words[0]); var statement = connection.createStatement()) {
            try (var rows = statement.executeQuery(
                    "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")) {
                rows.next();
                System.out.println(rows.getBoolean(1) + " " + rows.getString(2));
            }
            statement.setQueryTimeout(1);
            try {
                statement.execute("SELECT pg_sleep(60)");
            } catch (SQLException cancelled) {
                System.out.println(cancelled.getSQLState());
            }
        }
    }
}
