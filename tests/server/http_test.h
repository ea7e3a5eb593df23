// A server on loopback with routes that do what a test asks, and a client that says exactly what it is told.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/unique_fd.h"
#include "server/http/server.h"

namespace cachalot::server::test {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Response {
    int status = 0;  // 0: the connection ended before a whole header
    std::map<std::string, std::string> headers;
    std::string body;
    bool complete = false;
};

// Every wait ends after a few seconds, so that nothing can hang.
class Client {
  public:
    explicit Client(std::uint16_t port, int receive_buffer = 0) {
        fd_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (receive_buffer)
            setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        timeval limit{8, 0};
        setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        int yes = 1;
        setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ = connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }

    bool connected() const { return connected_; }

    // False if the server has closed the connection meanwhile.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }

    // Reads more; false at the end, on reset, or when nothing has come for too long (then timed_out).
    bool receive() {
        char buffer[16384];
        auto n = recv(fd_.get(), buffer, sizeof buffer, 0);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) timed_out = true;
        if (n <= 0) return false;
        input_.append(buffer, static_cast<std::size_t>(n));
        return true;
    }

    Response response(bool head = false) {
        Response r;
        std::size_t end;
        while ((end = input_.find("\r\n\r\n")) == std::string::npos)
            if (!receive()) return r;
        std::string header = input_.substr(0, end + 2);
        input_.erase(0, end + 4);
        std::size_t line = header.find("\r\n");
        r.status = std::atoi(header.c_str() + 9);
        for (line += 2; line < header.size();) {
            auto next = header.find("\r\n", line);
            auto colon = header.find(": ", line);
            std::string name = header.substr(line, colon - line);
            for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            r.headers[name] = header.substr(colon + 2, next - colon - 2);
            line = next + 2;
        }
        if (head || r.status == 204 || r.status == 100) {
            r.complete = true;
        } else if (r.headers.count("transfer-encoding")) {
            while (auto chunk = read_chunk()) {
                if (chunk->empty()) {
                    r.complete = true;
                    break;
                }
                r.body += *chunk;
            }
        } else if (r.headers.count("content-length")) {
            std::size_t size = std::stoul(r.headers["content-length"]);
            while (input_.size() < size && receive()) {
            }
            r.body = input_.substr(0, size);
            r.complete = r.body.size() == size;
            input_.erase(0, r.body.size());
        } else {
            while (receive()) {
            }
            r.body = std::exchange(input_, {});
            r.complete = !timed_out;
        }
        return r;
    }

    std::optional<std::string> read_chunk() {
        std::size_t end;
        while ((end = input_.find("\r\n")) == std::string::npos)
            if (!receive()) return std::nullopt;
        std::size_t size = 0;
        std::from_chars(input_.data(), input_.data() + end, size, 16);
        while (input_.size() < end + 2 + size + 2)
            if (!receive()) return std::nullopt;
        std::string chunk = input_.substr(end + 2, size);
        input_.erase(0, end + 2 + size + 2);
        return chunk;
    }

    // The same of an answer whose header has not been read yet.
    std::optional<std::string> read_chunk_after_header() {
        std::size_t end;
        while (input_.starts_with("HTTP/"))
            if ((end = input_.find("\r\n\r\n")) != std::string::npos)
                input_.erase(0, end + 4);
            else if (!receive())
                return std::nullopt;
        if (input_.empty() && !receive()) return std::nullopt;
        return input_.starts_with("HTTP/") ? read_chunk_after_header() : read_chunk();
    }

    // Whether the server closes the connection (in whatever way) before anything else comes.
    bool at_end() {
        bool more = receive();
        return !more && !timed_out;
    }

    void shut_write() { shutdown(fd_.get(), SHUT_WR); }
    void reset() {  // RST instead of FIN
        linger option{1, 0};
        setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &option, sizeof option);
        close();
    }
    void close() { fd_.reset(); }

    bool timed_out = false;
    std::string input_;

  private:
    cachalot::UniqueFd fd_;
    bool connected_;
};

inline std::string get(std::string_view path, std::string_view headers = {}) {
    return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, headers);
}

inline std::string post(std::string_view path, std::string_view body, std::string_view headers = {}) {
    return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}", path,
                       body.size(), headers, body);
}

template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds limit = 5s) {
    for (auto end = Clock::now() + limit; Clock::now() < end; std::this_thread::sleep_for(2ms))
        if (condition()) return true;
    return condition();
}

// Answers that a test gives itself.
class Mailbox {
  public:
    void put(std::shared_ptr<ResponseWriter> writer) {
        std::lock_guard lock(mutex_);
        writers_.push_back(std::move(writer));
        changed_.notify_all();
    }
    std::shared_ptr<ResponseWriter> take() {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, 5s, [&] { return !writers_.empty(); })) return nullptr;
        auto writer = std::move(writers_.front());
        writers_.pop_front();
        return writer;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<ResponseWriter>> writers_;
};

class HttpTest : public ::testing::Test {
  protected:
    HttpTest() {
        options.on_served = [this](const Served& served) {
            std::lock_guard lock(mutex_);
            served_.push_back(served);
        };
        options.limits.linger_time = 300ms;
    }

    std::uint16_t start() {
        server = std::make_unique<HttpServer>(options, routes());
        server->start();
        return server->port();
    }

    Response ask(std::string_view request) {
        Client client(server->port());
        client.send(request);
        return client.response(request.starts_with("HEAD "));
    }

    std::vector<Route> routes() {
        auto text = [](std::string body) {
            return [body](const HttpRequest&, std::shared_ptr<ResponseWriter> writer) {
                writer->respond(200, "text/plain", body);
            };
        };
        return {
            {"GET", "/open", text("open"), true},
            {"GET", "/hello", text("hello")},
            {"GET", "/models/{id}",
             [](const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
                 writer->respond(200, "text/plain", request.path + "|" + request.query);
             }},
            {"POST", "/v1/messages", text("message")},
            {"POST", "/echo",
             [](const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
                 writer->annotate({"toy", 3, 1, 7});
                 writer->respond(200, "text/plain", request.body, {{"x-tenant", request.tenant}});
             }},
            {"GET", "/wait",
             [this](const HttpRequest&, std::shared_ptr<ResponseWriter> writer) {
                 mailbox.put(std::move(writer));
             }},
            {"POST", "/wait",
             [this](const HttpRequest&, std::shared_ptr<ResponseWriter> writer) {
                 mailbox.put(std::move(writer));
             }},
            {"GET", "/error",
             [](const HttpRequest&, std::shared_ptr<ResponseWriter>) { fail("field x is {}", 3); }},
            {"GET", "/bug",
             [](const HttpRequest&, std::shared_ptr<ResponseWriter>) { throw std::logic_error("secret"); }},
            {"GET", "/odd", [](const HttpRequest&, std::shared_ptr<ResponseWriter>) { throw 42; }},
            {"GET", "/drop", [](const HttpRequest&, std::shared_ptr<ResponseWriter>) {}},
        };
    }

    std::vector<Served> served() {
        std::lock_guard lock(mutex_);
        return served_;
    }

    HttpOptions options;
    Mailbox mailbox;
    std::mutex mutex_;
    std::vector<Served> served_;
    std::unique_ptr<HttpServer> server;  // last: ends before what its handlers use
};

}  // namespace cachalot::server::test
