#include "server/http_test.h"

namespace cachalot::server::test {
namespace {

class Http : public HttpTest {};

// ---- the protocol ----

TEST_F(Http, AnswersAndKeepsTheConnection) {
    Client client(start());
    for (int i = 0; i < 3; ++i) {
        client.send(get("/hello?x=1"));
        auto r = client.response();
        EXPECT_EQ(r.status, 200);
        EXPECT_EQ(r.body, "hello");
        EXPECT_EQ(r.headers["content-type"], "text/plain");
        EXPECT_TRUE(r.headers.count("date"));
        EXPECT_FALSE(r.headers.count("connection"));
    }
    client.send(get("/hello", "Connection: close\r\n"));
    auto r = client.response();
    EXPECT_EQ(r.headers["connection"], "close");
    EXPECT_TRUE(client.at_end());
}

TEST_F(Http, Http10ClosesUnlessAsked) {
    Client client(start());
    client.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(client.response().headers["connection"], "keep-alive");
    client.send("GET /hello HTTP/1.0\r\n\r\n");
    EXPECT_EQ(client.response().body, "hello");
    EXPECT_TRUE(client.at_end());
}

TEST_F(Http, PipelinedRequestsAreAnsweredInOrder) {
    Client client(start());
    std::string all;
    for (int i = 0; i < 50; ++i) all += post("/echo", std::to_string(i)) + (i % 3 ? "" : "\r\n");
    all += get("/wait") + get("/hello");
    client.send(all);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(client.response().body, std::to_string(i));
    auto writer = mailbox.take();
    ASSERT_TRUE(writer);
    std::this_thread::sleep_for(20ms);  // the next one must not overtake
    writer->respond(200, "text/plain", "late");
    EXPECT_EQ(client.response().body, "late");
    EXPECT_EQ(client.response().body, "hello");
}

TEST_F(Http, ReadsBodiesHoweverTheyArrive) {
    Client client(start());
    std::string body(300'000, 'x');
    for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>('a' + i * 7 % 26);
    client.send(post("/echo", body));
    EXPECT_EQ(client.response().body, body);

    std::string chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (std::size_t at = 0, size = 1; at < body.size(); at += size, size = size * 3 + 1) {
        size = std::min(size, body.size() - at);
        chunked += fmt::format("{:X};ext=\"a\"\r\n{}\r\n", size, body.substr(at, size));
    }
    chunked += "0\r\nTrailer: x\r\n\r\n";
    client.send(chunked);
    EXPECT_EQ(client.response().body, body);

    for (char c : post("/echo", "byte by byte")) client.send({&c, 1});
    EXPECT_EQ(client.response().body, "byte by byte");
}

TEST_F(Http, SaysContinueBeforeTheBody) {
    Client client(start());
    client.send(
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.response().status, 100);
    client.send("ok");
    EXPECT_EQ(client.response().body, "ok");

    Client refused(server->port());  // without the body having been sent
    refused.send(
        "POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(refused.response().status, 404);
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: a.localhost\r\nExpect: x\r\n\r\n").status, 403);
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: x\r\n\r\n").status,
              417);
}

TEST_F(Http, HeadOptionsAndUnknownPaths) {
    start();
    auto head = ask("HEAD /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.headers["content-length"], "5");
    Client client(server->port());
    client.send("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/hello"));
    client.response(true);
    EXPECT_EQ(client.response().body, "hello");  // no body of HEAD in between

    auto options_response = ask("OPTIONS /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    EXPECT_EQ(options_response.status, 204);
    EXPECT_EQ(options_response.headers["allow"], "GET, HEAD, POST, OPTIONS");
    EXPECT_EQ(ask("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 204);

    auto missing = ask(get("/v1/nothing"));
    EXPECT_EQ(missing.status, 404);
    EXPECT_EQ(missing.headers["content-type"], "application/json");
    EXPECT_NE(missing.body.find("\"code\":\"not_found\""), std::string::npos);
    auto wrong = ask(post("/hello", ""));
    EXPECT_EQ(wrong.status, 405);
    EXPECT_EQ(wrong.headers["allow"], "GET, HEAD, OPTIONS");
    EXPECT_EQ(ask(get("/models/a%2Fb%20c?x=%20")).body, "/models/a/b c|x=%20");
}

TEST_F(Http, ExceptionsOfEndpoints) {
    start();
    auto user = ask(get("/error"));
    EXPECT_EQ(user.status, 400);
    EXPECT_NE(user.body.find("field x is 3"), std::string::npos);
    for (const char* path : {"/bug", "/odd", "/drop"}) {
        auto r = ask(get(path));
        EXPECT_EQ(r.status, 500) << path;
        EXPECT_EQ(r.body.find("secret"), std::string::npos);
    }
    EXPECT_EQ(ask(get("/hello")).status, 200);
}

TEST_F(Http, RoutesCanBeReplaced) {
    start();
    server->set_routes({});
    EXPECT_EQ(ask(get("/hello")).status, 404);
}

// ---- streams ----

TEST_F(Http, StreamsAtOnce) {
    Client client(start());
    client.send(get("/wait"));
    auto writer = mailbox.take();
    ASSERT_TRUE(writer);
    writer->start_stream({{"x-request-id", "a\r\nb: c"}});
    writer->write("data: 1\n\n");
    while (client.input_.find("data: 1") == std::string::npos) ASSERT_TRUE(client.receive());
    EXPECT_NE(client.input_.find("x-request-id: ab: c\r\n"), std::string::npos);  // not two headers
    writer->write("");
    writer->write("data: 2\n\n");
    writer->finish();
    writer->write("too late");
    auto r = client.response();
    EXPECT_EQ(r.headers["content-type"], "text/event-stream; charset=utf-8");
    EXPECT_EQ(r.headers["cache-control"], "no-cache");
    EXPECT_EQ(r.headers["x-accel-buffering"], "no");
    EXPECT_EQ(r.body, "data: 1\n\ndata: 2\n\n");
    EXPECT_TRUE(r.complete);
    client.send(get("/hello"));
    EXPECT_EQ(client.response().body, "hello");

    Client old(server->port());
    old.send("GET /wait HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    writer = mailbox.take();
    writer->start_stream();
    writer->write("plain");
    writer->finish();
    r = old.response();
    EXPECT_EQ(r.body, "plain");
    EXPECT_FALSE(r.headers.count("transfer-encoding"));
}

TEST_F(Http, AStreamThatIsAbandonedBreaksOff) {
    Client client(start());
    client.send(get("/wait"));
    auto writer = mailbox.take();
    writer->start_stream();
    writer->write("half");
    writer.reset();
    auto r = client.response();
    EXPECT_EQ(r.body, "half");
    EXPECT_FALSE(r.complete);
    EXPECT_FALSE(client.timed_out);
    ASSERT_TRUE(eventually([&] { return served().size() == 1; }));
    EXPECT_FALSE(served()[0].complete);
}

TEST_F(Http, TwoHundredStreamsAtOnceGetTheirOwnBytes) {
    start();
    constexpr int kClients = 200, kEvents = 50;
    std::vector<Client> clients;
    for (int i = 0; i < kClients; ++i) {
        clients.emplace_back(server->port());
        ASSERT_TRUE(clients.back().send(get("/wait")));
    }
    std::vector<std::shared_ptr<ResponseWriter>> writers;
    for (int i = 0; i < kClients; ++i) writers.push_back(mailbox.take());
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (int i = t; i < kClients; i += 4) writers[static_cast<std::size_t>(i)]->start_stream();
            for (int e = 0; e < kEvents; ++e)
                for (int i = t; i < kClients; i += 4)
                    writers[static_cast<std::size_t>(i)]->write(fmt::format("[{}:{}]", i, e));
            for (int i = t; i < kClients; i += 4) writers[static_cast<std::size_t>(i)]->finish();
        });
    for (auto& thread : threads) thread.join();
    std::vector<std::string>
        bodies;  // in the order of the connections, which need not be that of the writers
    for (auto& client : clients) bodies.push_back(client.response().body);
    std::sort(bodies.begin(), bodies.end());
    std::vector<std::string> expected;
    for (int i = 0; i < kClients; ++i) {
        std::string body;
        for (int e = 0; e < kEvents; ++e) body += fmt::format("[{}:{}]", i, e);
        expected.push_back(body);
    }
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(bodies, expected);
}

// ---- clients that leave ----

TEST_F(Http, NoticesWhenAClientLeavesInEveryPhase) {
    start();
    for (bool reset : {false, true})
        for (bool streaming : {false, true}) {
            Client client(server->port());
            client.send(get("/wait"));
            auto writer = mailbox.take();
            ASSERT_TRUE(writer);
            if (streaming) {
                writer->start_stream();
                writer->write("data: x\n\n");
                ASSERT_TRUE(client.receive());
            }
            EXPECT_FALSE(writer->client_gone());
            reset ? client.reset() : client.close();
            EXPECT_TRUE(eventually([&] { return writer->client_gone(); })) << reset << streaming;
            writer->write("nobody hears this");
            writer->finish();
            writer->respond(200, "text/plain", "nor this");
        }
    ASSERT_TRUE(eventually([&] { return served().size() == 4; }));
    EXPECT_EQ(served()[0].status, 0);
    EXPECT_FALSE(served()[3].complete);
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(Http, ResetsBeforeAnAnswerAreHarmless) {
    start();
    for (std::string part :
         {"", "GET /hel", "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"}) {
        Client client(server->port());
        client.send(part);
        client.reset();
        Client polite(server->port());
        polite.send(part);
        polite.close();
    }
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
    EXPECT_EQ(ask(get("/hello")).status, 200);
}

TEST_F(Http, HalfClosedClientsGetTheirAnswer) {
    Client client(start());
    client.send(get("/hello"));
    client.shut_write();
    EXPECT_EQ(client.response().body, "hello");
    EXPECT_TRUE(client.at_end());

    Client waiting(server->port());
    waiting.send(get("/wait"));
    auto writer = mailbox.take();
    waiting.shut_write();
    std::this_thread::sleep_for(100ms);
    EXPECT_FALSE(writer->client_gone());
    writer->respond(200, "text/plain", "late");
    auto r = waiting.response();
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(r.headers["content-type"], "text/plain");
    EXPECT_EQ(r.body, "late");
    EXPECT_TRUE(waiting.at_end());

    Client reading(server->port());  // in the middle of a stream
    reading.send(get("/wait"));
    writer = mailbox.take();
    writer->start_stream();
    writer->write("data: 1\n\n");
    EXPECT_EQ(reading.read_chunk_after_header(), "data: 1\n\n");
    reading.shut_write();
    std::this_thread::sleep_for(100ms);
    EXPECT_FALSE(writer->client_gone());
    writer->write("data: 2\n\n");
    EXPECT_EQ(reading.read_chunk(), ":\n\n");
    EXPECT_EQ(reading.read_chunk(), "data: 2\n\n");
    writer->finish();
    EXPECT_EQ(reading.read_chunk(), "");
}

TEST_F(Http, ClientsThatHaveClosedAreGone) {
    start();
    for (const bool streaming : {false, true}) {
        Client client(server->port());
        client.send(get("/wait"));
        auto writer = mailbox.take();
        if (streaming) {
            writer->start_stream();
            EXPECT_TRUE(client.receive());
        }
        EXPECT_FALSE(writer->client_gone());
        client.close();
        EXPECT_TRUE(eventually([&] { return writer->client_gone(); })) << streaming;
        EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
    }
}

TEST_F(Http, AClientThatDoesNotReadIsGone) {
    options.limits.unsent = 100'000;
    Client client(start(), 4096);
    client.send(get("/wait"));
    auto writer = mailbox.take();
    writer->start_stream();
    auto begin = Clock::now();
    std::size_t written = 0;
    while (!writer->client_gone() && Clock::now() < begin + 5s) {
        writer->write(std::string(10'000, 'x'));
        written += 10'000;
    }
    EXPECT_TRUE(writer->client_gone());
    EXPECT_LT(written, 200u << 20);
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));

    Client full(server->port(), 4096);  // and one for which the connection is in the middle of sending
    full.send(get("/wait"));
    writer = mailbox.take();
    writer->start_stream();
    writer->write(std::string(20 << 20, 'x'));
    std::this_thread::sleep_for(50ms);
    writer->write(std::string(200'000, 'x'));
    std::this_thread::sleep_for(50ms);
    writer->write("x");
    EXPECT_TRUE(writer->client_gone());
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));

    server.reset();
    options.limits.write_time = 100ms;  // and one that stops in the middle of an answer
    Client stuck(start(), 4096);
    stuck.send(get("/wait"));
    mailbox.take()->respond(200, "text/plain", std::string(20 << 20, 'x'));
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(Http, WritersMayOutliveTheServer) {
    std::shared_ptr<ResponseWriter> writer;
    {
        Client client(start());
        client.send(get("/wait"));
        writer = mailbox.take();
        server->stop();
        EXPECT_TRUE(client.at_end());
    }
    server.reset();
    EXPECT_TRUE(writer->client_gone());
    writer->start_stream();
    writer->write("x");
    writer->finish();
}

// ---- stopping ----

TEST_F(Http, StopDrains) {
    Client idle(start()), busy(server->port()), cut(server->port());
    idle.send(get("/hello"));
    idle.response();
    busy.send(get("/wait"));
    auto writer = mailbox.take();
    cut.send(get("/wait"));
    auto never = mailbox.take();
    std::thread stopping([&] { server->stop(Clock::now() + 400ms); });
    EXPECT_TRUE(idle.at_end());
    std::this_thread::sleep_for(50ms);
    Client late(server->port());
    EXPECT_FALSE(late.connected() && late.send(get("/hello")) && late.response().status == 200);
    EXPECT_FALSE(writer->client_gone());
    writer->respond(200, "text/plain", "finished");
    auto r = busy.response();
    EXPECT_EQ(r.body, "finished");
    EXPECT_TRUE(cut.at_end());
    EXPECT_TRUE(never->client_gone());
    stopping.join();
}

TEST_F(Http, StopsWithConnectionsInEveryState) {
    start();
    std::vector<Client> clients;
    for (const char* text : {"", "GET", "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n",
                             "GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n", "junk\r\n\r\n"}) {
        clients.emplace_back(server->port());
        clients.back().send(text);
    }
    auto begin = Clock::now();
    server->stop(begin);
    EXPECT_LT(Clock::now() - begin, 1s);
}

}  // namespace
}  // namespace cachalot::server::test
