// Runs a file of SQL in one database of the local Postgres, as superuser: stack/sql DATABASE FILE.

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

public final class Sql {
    public static void main(String[] args) throws Exception {
        String text = args[1].equals("-")
            ? new String(System.in.readAllBytes(), StandardCharsets.UTF_8)
            : Files.readString(Path.of(args[1]));
        try (Connection connection = openOrCreate(args[0]); Statement statement = connection.createStatement()) {
            boolean rows = statement.execute(text);
            while (rows || statement.getUpdateCount() != -1) {
                if (rows) print(statement.getResultSet());
                rows = statement.getMoreResults();
            }
        } catch (SQLException e) {
            System.err.println(args[1] + " in " + args[0] + ": " + e.getMessage());
            System.exit(1);
        }
    }

    // "simple": the file goes to the server as it is, and is one transaction unless it says otherwise.
    private static Connection open(String database) throws SQLException {
        return DriverManager.getConnection(
            "jdbc:postgresql://127.0.0.1:5432/" + database + "?preferQueryMode=simple", "postgres", "postgres");
    }

    private static Connection openOrCreate(String database) throws SQLException, InterruptedException {
        try {
            return open(database);
        } catch (SQLException e) {
            if (!"3D000".equals(e.getSQLState())) throw e;   // anything but: no such database
        }
        for (int attempt = 1; ; attempt++) {
            try (Connection connection = open("postgres"); Statement statement = connection.createStatement()) {
                statement.execute("CREATE DATABASE \"" + database.replace("\"", "\"\"") + "\"");
                break;
            } catch (SQLException e) {
                if ("42P04".equals(e.getSQLState()) || "23505".equals(e.getSQLState())) break;   // another one made it
                if (!"55006".equals(e.getSQLState()) || attempt == 50) throw e;                  // the template is in use
                Thread.sleep(100);
            }
        }
        return open(database);
    }

    private static void print(ResultSet rows) throws SQLException {
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            StringBuilder line = new StringBuilder();
            for (int i = 1; i <= columns; i++) line.append(i > 1 ? "\t" : "").append(rows.getString(i));
            if (columns > 1 || !line.toString().isEmpty()) System.out.println(line);
        }
    }
}
