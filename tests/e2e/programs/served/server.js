// A server by HTTP: says a page, sends back what was posted in capital letters, and streams a megabyte as it is read.
const http = require("http");

const server = http.createServer((request, response) => {
    if (request.method === "POST") {
        const parts = [];
        request.on("data", (part) => parts.push(part));
        request.on("end", () => response.end(Buffer.concat(parts).toString().toUpperCase()));
    } else if (request.url === "/page") {
        response.end("a page\n");
    } else if (request.url === "/stream") {
        let sent = 0;
        const more = () => {
            while (sent < 64) {
                sent += 1;
                if (!response.write("x".repeat(16384))) return response.once("drain", more);
            }
            response.end();
        };
        more();
    } else {
        response.writeHead(404).end();
    }
});
server.listen(80, () => console.log("ready"));
process.on("SIGTERM", () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
});
