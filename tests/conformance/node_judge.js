// Reads what each connection brings as Node's HTTP server does, and prints it, a line of JSON for each connection.
"use strict";
const http = require("node:http");

const latin1 = (pieces) => Buffer.concat(pieces).toString("latin1");
const server = http.createServer({ maxHeaderSize: 1 << 20, keepAliveTimeout: 0 });
server.httpAllowHalfOpen = true;
server.on("connection", (socket) => {
  socket.judged = { requests: [], error: "" };
  socket.on("close", () => process.stdout.write(JSON.stringify(socket.judged) + "\n"));
});
server.on("request", (request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    request.socket.judged.requests.push({
      method: request.method,
      target: request.url,
      fields: request.rawHeaders,
      body: latin1(pieces),
      trailers: request.rawTrailers,
    });
    response.end();
  });
  request.on("error", () => {});
});
server.on("checkExpectation", (request, response) => server.emit("request", request, response));
server.on("clientError", (error, socket) => {
  socket.judged.error = error.code || String(error);
  socket.destroy();
});
server.listen(0, "127.0.0.1", () => process.stdout.write(server.address().port + "\n"));
process.stdin.on("end", () => process.exit(0)).resume();
