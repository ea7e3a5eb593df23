// Requests that no client should send. For each: no crash, no hang, never 500, and the server still answers
// afterwards.
#include <random>

#include "server/http_test.h"

namespace cachalot::server::test {
namespace {

struct Case {
    std::string name, bytes;
    std::vector<int> statuses;  // any of these; 0: closed without an answer; empty: whatever but 5xx of ours
};

std::string request(std::string_view line, std::string_view headers = "Host: localhost\r\n",
                    std::string_view body = {}) {
    return fmt::format("{}\r\n{}\r\n{}", line, headers, body);
}

std::string with(std::string_view header, std::string_view body = {}) {
    return request("POST /echo HTTP/1.1", fmt::format("Host: localhost\r\n{}\r\n", header), body);
}

std::string repeated(int count, std::string_view line) {
    std::string text = "Host: localhost\r\n";
    for (int i = 0; i < count; ++i) text += line;
    return text;
}

// Collects cases.
struct Cases {
    std::vector<Case> all;

    void operator()(std::string name, std::string bytes, std::vector<int> statuses = {400}) {
        all.push_back({std::move(name), std::move(bytes), std::move(statuses)});
    }
};

// What is not HTTP/1.
void not_http(Cases& add) {
    using namespace std::string_literals;
    add("http2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"s, {505, 400});
    add("tls hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s + std::string(508, '\x5a'));
    add("sslv2 hello", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"s + std::string(32, 'x'));
    add("socks5", "\x05\x01\x00"s);
    add("ssh", "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    add("smtp", "EHLO example.org\r\n\r\n");
    add("memcached", "stats\r\n\r\n");
    add("redis", "*1\r\n$4\r\nPING\r\n\r\n");
    add("json", "{\"method\":\"GET\"}\r\n\r\n");
    add("gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\r\n\r\n"s);
    add("zeros", std::string(100, '\0'));
    add("0xff", std::string(100, '\xff'));
    add("blank lines", "\r\n\r\n\r\n\r\n", {0, 400});
    add("only LF", "\n\n\n\n");
    add("only CR", "\r\r\r\r\r\r");
    add("response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    add("http/0.9", "GET /hello\r\n\r\n");
    add("a million letters", std::string(1'000'000, 'a'), {400, 414, 431});
    add("a million spaces", std::string(1'000'000, ' '), {400, 414, 431});
    for (int seed = 0; seed < 20; ++seed) {
        std::mt19937 random(static_cast<unsigned>(seed));
        std::string noise(400, ' ');
        for (char& c : noise) c = static_cast<char>(random());
        add(fmt::format("noise {}", seed), noise + "\r\n\r\n", {400, 0});
    }
}

// Request lines.
void request_lines(Cases& add) {
    using namespace std::string_literals;
    for (const char* version : {"HTTP/1.2", "HTTP/2", "HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9",
                                "HTTP/1.", "HTTP/1", "HTTP/.1", "HTTP/11.1", "HTTP/1.11", "http/1.1",
                                "HTTPS/1.1", "XTTP/1.1", "HTTP 1.1", "HTTP/-1.1", ""})
        add(fmt::format("version {}", version), request(fmt::format("GET /hello {}", version)), {400, 505});
    for (const char* line :
         {"GET  /hello HTTP/1.1", " GET /hello HTTP/1.1", "GET\t/hello\tHTTP/1.1", "GET /hello HTTP/1.1 ",
          "GET /hello  HTTP/1.1", "GET /he llo HTTP/1.1", "GET HTTP/1.1", " /hello HTTP/1.1",
          "GE\x01T /hello HTTP/1.1", "G{}T /hello HTTP/1.1", "GET: /hello HTTP/1.1",
          "\"GET\" /hello HTTP/1.1", "GET /hello\x01 HTTP/1.1", "GET /hello\x7f HTTP/1.1"})
        add(fmt::format("line {}", line), request(line), {400, 505});
    add("NUL in the path", request("GET /hel\0lo HTTP/1.1"s));
    add("CR in the line", request("GET /hello\rX HTTP/1.1"));
    add("LF only", "GET /hello HTTP/1.1\nHost: localhost\n\n", {400, 505});
    for (const char* target :
         {"*", "hello", "http://localhost/hello", "https://evil.example/", "localhost:80", "?x", "#x", "/%",
          "/%4", "/%zz", "/%00", "/%0d%0aX:1", "/%0a", "/hello%", "\\hello", "//%", "/%%20", "/%7f"})
        add(fmt::format("target {}", target), request(fmt::format("GET {} HTTP/1.1", target)));
    for (const char* target :
         {"/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/HELLO", "/hello/..",
          "/./hello", "/hello;x", "/hello%20", "/\xff\xfe", "/%ff%fe", "/%C0%AF", "/<script>", "/hello\"",
          "/{id}", "/models/", "/${jndi:ldap://x}", "/'%20or%201=1", "/\xe2\x80\xae"})
        add(fmt::format("path {}", target), request(fmt::format("GET {} HTTP/1.1", target)), {404, 400});
    for (const char* method : {"get", "BREW", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "X", "PRI"})
        add(fmt::format("method {}", method), request(fmt::format("{} /hello HTTP/1.1", method)), {405});
    add("long method", request(std::string(5000, 'M') + " /hello HTTP/1.1"), {405, 400});
    add("CONNECT", request("CONNECT localhost:80 HTTP/1.1"));
    add("CONNECT path", request("CONNECT /hello HTTP/1.1"), {405});
    add("long path", request("GET /" + std::string(20'000, 'a') + " HTTP/1.1"), {414});
    add("long query", request("GET /hello?" + std::string(20'000, 'a') + " HTTP/1.1"), {414});
    add("escapes",
        request("GET /" +
                [] {
                    std::string s;
                    for (int i = 0; i < 2000; ++i) s += "%41";
                    return s;
                }() +
                " HTTP/1.1"),
        {404});
}

// Headers.
void headers(Cases& add) {
    using namespace std::string_literals;
    add("no host", request("GET /hello HTTP/1.1", ""));
    add("two hosts", request("GET /hello HTTP/1.1", "Host: localhost\r\nHost: localhost\r\n"));
    for (const char* host : {"",
                             " ",
                             "evil.example",
                             "localhost:x",
                             "localhost:99999999",
                             "localhost, evil",
                             "localhost evil",
                             "evil@localhost",
                             "[::1",
                             "::1",
                             "[]",
                             ":80",
                             "127.1",
                             "2130706433",
                             "0x7f.1",
                             "localhost/",
                             "\xff",
                             "LOCALHOST\xc4\xb0",
                             "http://localhost",
                             "localhost%00.evil",
                             "."})
        add(fmt::format("host {}", host), request("GET /hello HTTP/1.1", fmt::format("Host: {}\r\n", host)),
            {403, 400});
    for (const char* header : {"NoColon", ": empty", " Folded: first", "Sp ace: x", "Space : x", "Tab\t: x",
                               "(x): y", "x\x01: y", "\xc3\xa9: y", "a/b: c",
                               "x: a\x01"
                               "b",
                               "x: \x7f"})
        add(fmt::format("header {}", header),
            request("GET /hello HTTP/1.1", fmt::format("{}\r\nHost: localhost\r\n", header)));
    add("NUL in a header", request("GET /hello HTTP/1.1", "Host: localhost\r\nX: a\0b\r\n"s));
    add("bare CR in a header", request("GET /hello HTTP/1.1", "Host: localhost\r\nX: a\rb\r\n"));
    add("bare LF in a header", request("GET /hello HTTP/1.1", "Host: localhost\r\nX: a\nY: b\r\n"));
    add("64 KB header",
        request("GET /hello HTTP/1.1", "Host: localhost\r\nX: " + std::string(65536, 'x') + "\r\n"), {431});
    add("64 KB header name",
        request("GET /hello HTTP/1.1", "Host: localhost\r\n" + std::string(65536, 'x') + ": y\r\n"), {431});
    add("101 headers", request("GET /hello HTTP/1.1", repeated(101, "a: b\r\n")), {431});
    add("5,000 headers", request("GET /hello HTTP/1.1", repeated(5000, "a:\r\n")), {431});
    add("100,000 headers", request("GET /hello HTTP/1.1", repeated(100'000, "a: b\r\n")), {431});
    add("folded forever", request("GET /hello HTTP/1.1", repeated(20'000, " x\r\n")), {400, 431});
}

// How long is the body?
void body_lengths(Cases& add) {
    for (const char* length :
         {"-1", "+5", "0x5", "5 5", "5,5", "5, 6", "five", "", " ", "1e3", "5.0", "5;",
          "99999999999999999999", "18446744073709551616", "-9223372036854775808", "\xef\xbc\x95", "5\x01"})
        add(fmt::format("length {}", length), with(fmt::format("Content-Length: {}", length), "hello"),
            {400});
    for (const char* length : {"18446744073709551615", "9223372036854775807", "4294967296", "70000000"})
        add(fmt::format("length {}", length), with(fmt::format("Content-Length: {}", length), "hello"),
            {413, 400});
    add("two lengths", with("Content-Length: 5\r\nContent-Length: 6", "hello"));
    add("two equal lengths", with("Content-Length: 5\r\nContent-Length: 5", "hello"));
    add("length and chunked", with("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"));
    add("chunked and length", with("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"));
    for (const char* coding : {"gzip", "identity", "gzip, chunked", "chunked, gzip", "chunked, chunked",
                               "xchunked", "chunked x", "\"chunked\"", "", ",", "chunked;q=1", "deflate"})
        add(fmt::format("coding {}", coding), with(fmt::format("Transfer-Encoding: {}", coding), "0\r\n\r\n"),
            {400, 501});
    add("chunked twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"));
    add("chunked and identity",
        with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"), {400, 501});
    add("space before the colon", with("Transfer-Encoding : chunked", "0\r\n\r\n"));
    add("chunked in 1.0",
        request("POST /echo HTTP/1.0", "Host: localhost\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
    for (const char* chunk :
         {"z\r\n", "-1\r\nx\r\n", "0x1\r\nx\r\n", "1\r\nxy\r\n0\r\n\r\n", "1\r\nx0\r\n\r\n", " 1\r\nx\r\n",
          "\r\n\r\n", ";ext\r\n", "1;\"unclosed\r\nx\r\n", "1 x\r\nx\r\n", "1\nx\n0\n\n",
          "ffffffffffffffffff\r\n", "0\r\nbad trailer\r\n\r\n", "0\r\n : x\r\n\r\n", "1;=\r\nx\r\n0\r\n\r\n"})
        add(fmt::format("chunk {}", chunk), with("Transfer-Encoding: chunked", chunk),
            {400, 408});  // 408: waited for a line's end
    for (const char* chunk :
         {"ffffffffffffffff\r\n", "7fffffffffffffff\r\n", "80000000\r\nx", "fffffffff\r\n"})
        add(fmt::format("chunk {}", chunk), with("Transfer-Encoding: chunked", chunk), {413, 400});
    add("endless chunk size", with("Transfer-Encoding: chunked", std::string(200'000, '0')), {400, 431});
    add("endless chunk extension", with("Transfer-Encoding: chunked", "1;" + std::string(200'000, 'x')),
        {400, 431});
    add("endless trailer", with("Transfer-Encoding: chunked", "0\r\n" + repeated(20'000, "a: b\r\n")),
        {400, 431});
    add("get with chunked length",
        request("GET /hello HTTP/1.1",
                "Host: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n", "0\r\n\r\n"));
    add("smuggled", with("Content-Length: 6\r\nTransfer-Encoding:\tchunked", "0\r\n\r\nG"));
    add("expectation", with("Content-Length: 1\r\nExpect: 200-maybe", "x"), {417});
}

// Served, but odd.
void odd_but_served(Cases& add) {
    add("expect without a body",
        request("GET /hello HTTP/1.1", "Host: localhost\r\nExpect: 100-continue\r\n"), {200});
    add("upgrade h2c",
        request("GET /hello HTTP/1.1",
                "Host: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
                "x\r\n"),
        {200});
    add("websocket",
        request("GET /hello HTTP/1.1",
                "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"),
        {200});
    add("range", request("GET /hello HTTP/1.1", "Host: localhost\r\nRange: bytes=0-18446744073709551615\r\n"),
        {200});
    add("get with a body", request("GET /hello HTTP/1.1", "Host: localhost\r\nContent-Length: 3\r\n", "abc"),
        {200});
    for (const char* target : {"/hello/", "//hello"})  // slashes too many are forgiven
        add(target, request(fmt::format("GET {} HTTP/1.1", target)), {200});
    add("encoded body", with("Content-Encoding: gzip\r\nContent-Length: 3", "\x1f\x8b\x08"), {400});
    add("connection junk",
        request("GET /hello HTTP/1.1", "Host: localhost\r\nConnection: ,,,close,keep-alive,\xff\r\n"),
        {200, 400});
    add("many escapes in the key",
        with("Authorization: Bearer " + std::string(5000, '%') + "\r\nContent-Length: 0"), {200});
    add("fake forwarding",
        request("GET /hello HTTP/1.1",
                "Host: localhost\r\nX-Forwarded-Host: evil\r\nX-Original-URL: /wait\r\n"),
        {200});
}

std::vector<Case> cases() {
    Cases add;
    not_http(add);
    request_lines(add);
    headers(add);
    body_lengths(add);
    odd_but_served(add);
    return std::move(add.all);
}

class HostileHttp : public HttpTest {};

TEST_F(HostileHttp, TheBattery) {
    options.limits.header_time = 2s;  // a large header takes long under sanitizers on a busy machine
    options.limits.body_time = 100ms;
    options.limits.linger_time = 50ms;
    auto port = start();
    auto all = cases();
    EXPECT_GE(all.size(), 150u);
    for (const auto& c : all) {
        Client client(port);
        ASSERT_TRUE(client.connected()) << c.name;
        client.send(c.bytes);
        auto r = client.response();
        EXPECT_FALSE(client.timed_out) << c.name;
        EXPECT_TRUE(std::find(c.statuses.begin(), c.statuses.end(), r.status) != c.statuses.end())
            << c.name << ": " << r.status << " " << r.body;
        EXPECT_NE(r.status, 500) << c.name;
        client.close();
    }
    EXPECT_EQ(ask(get("/hello")).body, "hello");
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

// What follows a refused body must never be read as a request.
TEST_F(HostileHttp, NothingIsSmuggled) {
    start();
    for (std::string framing :
         {"Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: xchunked",
          "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Content-Length: 0\r\nContent-Length: 40"}) {
        Client client(server->port());
        client.send(with(framing, "0\r\n\r\n" + get("/models/smuggled")));
        while (client.receive()) {
        }
        EXPECT_EQ(client.input_.find("smuggled"), std::string::npos) << framing;
        EXPECT_EQ(client.input_.find("HTTP/1.1 200"), std::string::npos) << framing;
    }
}

// A whole request, cut at every byte and then closed or reset, or damaged at every byte.
TEST_F(HostileHttp, CutAndDamagedRequests) {
    options.limits.header_time = 60ms;
    options.limits.body_time = 60ms;
    options.limits.linger_time = 20ms;
    auto port = start();
    std::string chunked =
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: "
        "x\r\n\r\n";
    for (std::size_t i = 0; i < chunked.size(); ++i) {
        Client cut(port);
        cut.send(chunked.substr(0, i));
        i % 2 ? cut.reset() : cut.close();
        Client damaged(port);
        std::string bytes = chunked;
        bytes[i] = static_cast<char>(bytes[i] ^ (1 << i % 8));
        damaged.send(bytes);
        damaged.shut_write();
        auto r = damaged.response();
        EXPECT_NE(r.status, 500) << i;
        EXPECT_FALSE(damaged.timed_out) << i;
    }
    EXPECT_EQ(ask(get("/hello")).body, "hello");
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(HostileHttp, ManyIdleSocketsDoNotStopTheOthers) {
    options.limits.connections = 64;
    options.limits.header_time = 300ms;
    start();
    std::vector<Client> idle;
    for (int i = 0; i < 200; ++i) idle.emplace_back(server->port());
    EXPECT_TRUE(eventually([&] { return ask(get("/hello")).status == 200; }));
}

TEST_F(HostileHttp, PipeliningBehindAStreamIsBounded) {
    Client client(start());
    client.send(get("/wait"));
    auto writer = mailbox.take();
    writer->start_stream();
    // More than the server reads ahead, and more than the kernel buffers; a second thread, as send() will
    // block.
    std::thread flood([&] {
        std::string many;
        for (int i = 0; i < 1000; ++i) many += get("/hello");
        for (int i = 0; i < 20; ++i) client.send(many);
    });
    std::this_thread::sleep_for(50ms);
    EXPECT_FALSE(writer->client_gone());
    writer->write("still here");
    writer->finish();
    auto r = client.response();
    EXPECT_EQ(r.body, "still here");
    for (int i = 0; i < 20'000; ++i) ASSERT_EQ(client.response().body, "hello") << i;
    flood.join();
}

}  // namespace
}  // namespace cachalot::server::test
