// A server by HTTP: says a page, sends back what was posted in capital letters, and streams a megabyte.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.util.Locale;
import java.util.concurrent.Executors;

public class Server {
    static void answer(HttpExchange exchange, byte[] content) throws IOException {
        exchange.sendResponseHeaders(200, content.length);
        try (OutputStream body = exchange.getResponseBody()) {
            body.write(content);
        }
    }

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(80), 0);
        server.createContext("/page", exchange -> answer(exchange, "a page\n".getBytes()));
        server.createContext("/upper", exchange -> {
            String said = new String(exchange.getRequestBody().readAllBytes());
            answer(exchange, said.toUpperCase(Locale.ROOT).getBytes());
        });
        server.createContext("/stream", exchange -> {
            exchange.sendResponseHeaders(200, 0);
            try (OutputStream body = exchange.getResponseBody()) {
                byte[] part = "x".repeat(16384).getBytes();
                for (int count = 0; count < 64; count++) {
                    body.write(part);
                }
            }
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            server.stop(0);
            Runtime.getRuntime().halt(0);
        }));
        server.start();
        System.out.println("ready");
    }
}
