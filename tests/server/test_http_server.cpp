#include <sys/resource.h>
#include <filesystem>
#include <fstream>
#include <set>

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

TEST_F(Http, HalfClosedClientsGetWhatIsReadyAtOnce) {
    Client client(start());
    client.send(get("/hello"));
    client.shut_write();
    EXPECT_EQ(client.response().body, "hello");
    EXPECT_TRUE(client.at_end());

    Client waiting(server->port());  // but are gone if it takes time
    waiting.send(get("/wait"));
    auto writer = mailbox.take();
    waiting.shut_write();
    EXPECT_TRUE(eventually([&] { return writer->client_gone(); }));
    EXPECT_TRUE(waiting.at_end());
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

// ---- who may ask ----

TEST_F(Http, HostsAreCheckedFirst) {
    options.keys.add("secret");
    options.allowed_hosts = {"box.lan"};
    start();
    auto status = [&](std::string host, std::string more = {}) {
        return ask(fmt::format("GET /open HTTP/1.1\r\nHost: {}\r\n{}\r\n", host, more)).status;
    };
    for (const char* good :
         {"localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:99", "box.lan", "Box.Lan.:8080"})
        EXPECT_EQ(status(good), 200) << good;
    for (const char* bad : {"evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "box.lan@evil",
                            "192.168.1.7", "[::1", "localhost:http", ""})
        EXPECT_EQ(status(bad), 403) << bad;
    EXPECT_EQ(status("evil.example", "x-api-key: secret\r\n"), 403);
    EXPECT_EQ(ask("GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 403);  // not 401
    EXPECT_EQ(ask("OPTIONS /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 403);
    EXPECT_EQ(ask("GET /open HTTP/1.1\r\n\r\n").status, 400);
    EXPECT_EQ(ask("GET /open HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n").status, 400);
}

TEST_F(Http, KeysInBothHeaders) {
    options.keys.add("alice=sk-alice");
    options.keys.add("sk-two");
    start();
    auto with = [&](std::string header) { return ask(post("/echo", "x", header)); };
    EXPECT_EQ(with("Authorization: Bearer sk-alice\r\n").headers["x-tenant"], "alice");
    EXPECT_EQ(with("authorization: bearer  sk-alice \r\n").headers["x-tenant"], "alice");
    EXPECT_EQ(with("x-api-key: sk-two\r\n").headers["x-tenant"], "key-2");
    EXPECT_EQ(with("x-api-key: sk-two\r\nAuthorization: Bearer wrong\r\n").status, 200);
    for (const char* bad : {"", "x-api-key: \r\n", "x-api-key: sk-tw\r\n", "x-api-key: sk-two2\r\n",
                            "Authorization: sk-two\r\n", "Authorization: Basic sk-two\r\n",
                            "x-api-key: alice=sk-alice\r\n", "x-api-key: alice\r\n"}) {
        auto r = with(bad);
        EXPECT_EQ(r.status, 401) << bad;
        EXPECT_NE(r.body.find(R"("type":"authentication_error","param":null,"code":"invalid_api_key")"),
                  std::string::npos);
        EXPECT_EQ(r.body.find("sk-"), std::string::npos);
    }
    auto anthropic = ask(post("/v1/messages?beta=true", "x"));
    EXPECT_EQ(anthropic.status, 401);
    EXPECT_TRUE(anthropic.body.starts_with(R"({"type":"error","error":{"type":"authentication_error",)"));
    EXPECT_EQ(ask(get("/nothing")).status, 401);  // what exists is no stranger's business
    EXPECT_EQ(ask(get("/open")).status, 200);
    // A body of any size that nobody was allowed to send is not waited for.
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\nabc").status,
              401);
    ASSERT_TRUE(eventually([&] { return served().size() == 16; }));
    EXPECT_EQ(served()[0].key_name, "alice");
    EXPECT_EQ(served()[0].annotation.completion_tokens, 7);
}

TEST_F(Http, EveryAnswerHasAnIdOfOurs) {
    start();
    std::set<std::string> ids;
    for (const auto& request : {get("/hello", "x-request-id: mine\r\nrequest-id: mine\r\n"), get("/nothing"),
                                get("/bug"), std::string("GET\r\n\r\n")}) {
        auto r = ask(request);
        EXPECT_TRUE(r.headers["request-id"].starts_with("req_")) << r.status;
        EXPECT_EQ(r.headers["x-request-id"], r.headers["request-id"]);
        ids.insert(r.headers["request-id"]);
    }
    EXPECT_EQ(ids.size(), 4u);
    ASSERT_TRUE(eventually([&] { return served().size() == 4; }));
    for (const auto& one : served()) EXPECT_TRUE(ids.count(one.id)) << one.path;
}

TEST_F(Http, CorsIsOffUnlessAskedFor) {
    start();
    auto preflight =
        "OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example\r\n"
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n";
    auto from = [](std::string origin) { return post("/echo", "x", "Origin: " + origin + "\r\n"); };
    EXPECT_FALSE(ask(preflight).headers.count("access-control-allow-origin"));
    EXPECT_EQ(ask(from("https://a.example")).status, 403);  // a page could keep the model busy otherwise
    EXPECT_EQ(ask(from("null")).status, 403);
    EXPECT_EQ(ask(from("http://localhost")).status, 200);  // our own pages
    EXPECT_EQ(
        ask(get("/hello", "Origin: https://a.example\r\n")).headers.count("access-control-allow-origin"), 0u);

    options.cors.allow("https://a.example/");
    options.keys.add("k");
    start();
    auto r = ask(preflight);
    EXPECT_EQ(r.status, 204);
    EXPECT_EQ(r.headers["access-control-allow-origin"], "https://a.example");
    EXPECT_EQ(r.headers["access-control-allow-methods"], "POST, OPTIONS");
    EXPECT_EQ(r.headers["access-control-allow-headers"], "authorization");
    EXPECT_EQ(r.headers["vary"], "Origin");
    EXPECT_FALSE(r.headers.count("access-control-allow-credentials"));
    r = ask(from("https://a.example"));
    EXPECT_EQ(r.status, 401);  // readable for the page, so that it can say why
    EXPECT_EQ(r.headers["access-control-allow-origin"], "https://a.example");
    EXPECT_EQ(ask(from("https://b.example")).status, 403);
}

TEST_F(Http, DoesNotListenBeyondLoopbackWithoutAKey) {
    options.host = "0.0.0.0";
    EXPECT_THROW(start(), Error);
    options.insecure = true;
    start();
    EXPECT_EQ(ask(get("/hello")).status, 200);
    options.insecure = false;
    options.keys.add("k");
    start();
    EXPECT_EQ(ask(get("/hello")).status, 401);
    options.host = "no.such.host.invalid";
    EXPECT_THROW(start(), Error);
}

TEST_F(Http, APortThatIsTakenIsAnError) {
    auto port = start();
    options.port = port;
    HttpServer second(options, {});
    EXPECT_THROW(second.start(), Error);
}

// ---- limits ----

TEST_F(Http, LimitsOnSizes) {
    options.limits.body = 1000;
    start();
    EXPECT_EQ(ask(post("/echo", std::string(1000, 'x'))).status, 200);
    EXPECT_EQ(ask(post("/echo", std::string(1001, 'x'))).status, 413);
    EXPECT_EQ(ask(post("/v1/messages", std::string(1001, 'x'))).body.find(R"({"type":"error")"), 0u);
    std::string chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 3; ++i) chunked += "190\r\n" + std::string(400, 'x') + "\r\n";
    EXPECT_EQ(ask(chunked).status, 413);
    EXPECT_EQ(ask(get("/" + std::string(8192, 'a'))).status, 414);
    EXPECT_EQ(ask(get("/" + std::string(100'000, 'a'))).status, 414);
    EXPECT_EQ(ask(get("/hello", "X: " + std::string(40'000, 'a') + "\r\n")).status, 431);
    std::string many;
    for (int i = 0; i < 200; ++i) many += fmt::format("h{}: x\r\n", i);
    EXPECT_EQ(ask(get("/hello", many)).status, 431);
    EXPECT_EQ(ask(get("/hello")).status, 200);
}

TEST_F(Http, LimitsOnTime) {
    options.limits.header_time = 150ms;
    options.limits.body_time = 150ms;
    options.limits.idle_time = 150ms;
    start();
    auto begin = Clock::now();
    Client silent(server->port()), header(server->port()), body(server->port()), drip(server->port()),
        idle(server->port());
    header.send("GET /hello HTTP/1.1\r\nHos");
    body.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc");
    idle.send(get("/hello"));
    EXPECT_EQ(idle.response().status, 200);
    drip.send("GET /hello HTTP/1.1\r\nX: ");
    for (int i = 0; i < 40 && drip.send("x"); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_EQ(drip.response().status, 408);
    EXPECT_EQ(header.response().status, 408);
    EXPECT_EQ(body.response().status, 408);
    EXPECT_TRUE(silent.at_end());
    EXPECT_TRUE(idle.at_end());
    EXPECT_LT(Clock::now() - begin, 5s);
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(Http, AThousandConnectionsBeyondTheLimitAreRefused) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);  // each connection takes one on either side
    setrlimit(RLIMIT_NOFILE, &files);
    options.limits.connections = 4;
    start();
    std::vector<Client> held;
    for (int i = 0; i < 4; ++i) {
        held.emplace_back(server->port());
        held.back().send(get("/hello"));
        EXPECT_EQ(held.back().response().status, 200);
    }
    std::vector<Client> more;
    for (int i = 0; i < 1000; ++i) {
        more.emplace_back(server->port());
        ASSERT_TRUE(more.back().connected());
        more.back().send(get("/hello"));
    }
    for (auto& client : more) {
        auto r = client.response();
        EXPECT_EQ(r.status, 503);
        EXPECT_EQ(r.headers["retry-after"], "1");
        EXPECT_TRUE(r.complete);
        client.close();
    }
    held[0].send(get("/hello"));
    EXPECT_EQ(held[0].response().status, 200);
    held.clear();
    EXPECT_TRUE(eventually([&] { return ask(get("/hello")).status == 200; }));
}

TEST_F(Http, TheMemoryOfAllBodiesIsBounded) {
    options.limits.bodies = 1500;
    start();
    Client first(server->port());
    first.send(post("/wait", std::string(1000, 'x')));
    auto writer = mailbox.take();
    auto refused = ask(post("/echo", std::string(1000, 'x')));
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(refused.headers["retry-after"], "1");
    EXPECT_EQ(ask(post("/echo", std::string(500, 'x'))).status, 200);
    writer->respond(200, "text/plain", "x");
    EXPECT_EQ(first.response().status, 200);
    EXPECT_EQ(ask(post("/echo", std::string(1500, 'x'))).status, 200);
    {
        Client leaves(server->port());  // in the middle of its body
        leaves.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1500\r\n\r\n" +
                    std::string(1400, 'x'));
    }
    EXPECT_TRUE(eventually([&] { return ask(post("/echo", std::string(1500, 'x'))).status == 200; }));
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

// ---- TLS ----

TEST_F(Http, TlsNeedsGoodFiles) {
    options.tls_cert = "/does/not/exist.pem";
    options.tls_key = "/does/not/exist.key";
    EXPECT_THROW(start(), Error);
    options.tls_key.clear();
    EXPECT_THROW(start(), Error);
}

TEST_F(Http, ServesTls) {
    auto folder = std::filesystem::temp_directory_path() / fmt::format("cachalot-tls-{}", getpid());
    std::filesystem::create_directories(folder);
    options.tls_cert = folder / "cert.pem";
    options.tls_key = folder / "key.pem";
    auto command = fmt::format(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=localhost "
        "-keyout {} -out {} 2>/dev/null",
        options.tls_key, options.tls_cert);
    if (std::system(command.c_str()) != 0 || std::system("curl --version >/dev/null 2>&1") != 0)
        GTEST_SKIP() << "needs the programs openssl and curl";
    try {
        start();
    } catch (const Error& e) {
        GTEST_SKIP() << e.what();
    }
    EXPECT_TRUE(server->url().starts_with("https://"));
    auto curl = [&](std::string arguments) {
        auto out = folder / "out";
        int status = std::system(
            fmt::format("curl -s -m 5 --cacert {} {} >{}", options.tls_cert, arguments, out.string())
                .c_str());
        std::ifstream file(out);
        return std::make_pair(status, std::string(std::istreambuf_iterator<char>(file), {}));
    };
    auto url = fmt::format("https://localhost:{}", server->port());
    // localhost may mean ::1 first; curl tries both
    EXPECT_EQ(curl(url + "/hello " + url + "/hello"), std::make_pair(0, std::string("hellohello")));
    EXPECT_EQ(curl("-d abc " + url + "/echo").second, "abc");
    EXPECT_EQ(curl("--http1.0 -H 'Connection: close' " + url + "/hello").second, "hello");
    EXPECT_NE(curl("--tls-max 1.1 " + url + "/hello").first, 0);

    Client plain(server->port());  // plain HTTP on a TLS port
    plain.send(get("/hello"));
    EXPECT_EQ(plain.response().status, 0);
    EXPECT_FALSE(plain.timed_out);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace cachalot::server::test
