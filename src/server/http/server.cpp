// The listener: accepts connections, counts them, and stops them in order.
#include "server/http/server.h"

#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/background.h"
#include "base/error.h"
#include "server/http/connection.h"

namespace cachalot::server {

namespace net = boost::asio;
using boost::system::error_code;
using tcp = net::ip::tcp;
using namespace std::chrono_literals;

class HttpServer::Impl {
  public:
    Impl(HttpOptions options, std::vector<Route> routes)
        : context_(std::make_shared<ConnectionContext>(std::move(options))) {
        context_->set_router(std::make_shared<const Router>(std::move(routes)));
    }

    void start() {
        const HttpOptions& o = context_->options;
        CACHALOT_CHECK(threads_.empty());
        if (!o.tls_cert.empty() || !o.tls_key.empty())
            context_->tls = make_tls_context(o.tls_cert, o.tls_key);
        std::string host = o.host;
        if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
        auto endpoint = resolve(host, o.port);
        bool loopback = endpoint.address().is_loopback();
        if (!loopback && o.keys.empty() && !o.insecure)
            fail(
                "{} can be reached from other machines: "
                "require a key with --api-key, or insist with --insecure",
                host);
        context_->hosts.allow(host);
        if (!loopback) {
            char name[256] = {};
            if (gethostname(name, sizeof name - 1) == 0) context_->hosts.allow(name);
        }
        for (const auto& name : o.allowed_hosts) context_->hosts.allow(name);

        error_code error;
        acceptor_.open(endpoint.protocol(), error);
        if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
        if (!error) acceptor_.bind(endpoint, error);
        if (!error) acceptor_.listen(net::socket_base::max_listen_connections, error);
        if (error) fail("cannot listen on {} port {}: {}", host, o.port, error.message());
        port_ = acceptor_.local_endpoint().port();
        bool v6 = endpoint.address().is_v6();
        url_ = fmt::format("{}://{}{}{}:{}", context_->tls ? "https" : "http", v6 ? "[" : "", host,
                           v6 ? "]" : "", port_);

        context_->on_closed = [this](Connection* connection) {
            std::lock_guard lock(mutex_);
            if (auto it = connections_.find(connection); it != connections_.end()) {
                (it->second.refused ? refused_ : admitted_)--;
                connections_.erase(it);
            }
            changed_.notify_all();
        };
        context_->workers.start();
        context_->served.start();
        net::co_spawn(
            strand_, [this] { return accept_loop(); }, net::detached);
        start_threads(threads_, std::max(1, o.threads), [this](int) { run_io(); });
        if (threads_.empty()) fail("the network cannot be served: {}", kNoMoreThreads);
        missing_threads_ =
            o.threads + o.request_threads - static_cast<int>(threads_.size()) - context_->workers.threads();
    }

    void stop(std::chrono::steady_clock::time_point deadline) {
        if (threads_.empty()) return;
        context_->draining = true;
        net::post(strand_, [this] {
            error_code ignored;
            acceptor_.close(ignored);
            retry_.cancel();
        });
        std::unique_lock lock(mutex_);
        for_each([](Connection& c) { c.drain(); });
        changed_.wait_until(lock, deadline, [&] { return connections_.empty() && !accepting_; });
        // A connection may have been accepted just before the acceptor was closed: ask until none is left.
        while (!connections_.empty() || accepting_) {
            for_each([](Connection& c) { c.abort(); });
            changed_.wait_for(lock, 20ms);
        }
        lock.unlock();
        context_->workers.stop();  // an endpoint that runs may still want to wake its connection
        for (auto& thread : threads_) thread.join();
        threads_.clear();
        context_->served.stop();
    }

    std::shared_ptr<ConnectionContext> context_;
    std::uint16_t port_ = 0;
    std::string url_;
    int missing_threads_ = 0;
    std::size_t connections() const {
        std::lock_guard lock(mutex_);
        return admitted_;
    }

  private:
    struct Entry {
        std::shared_ptr<Connection> connection;
        bool refused;
    };

    tcp::endpoint resolve(const std::string& host, std::uint16_t port) {
        error_code error;
        if (auto address = net::ip::make_address(host, error); !error) return {address, port};
        tcp::resolver resolver(io_);
        auto results = resolver.resolve(host, std::to_string(port), error);
        if (error || results.empty()) fail("{}: no address of this name: {}", host, error.message());
        for (const auto& result : results)
            if (result.endpoint().address().is_v4()) return result.endpoint();
        return results.begin()->endpoint();
    }

    // Throwing handlers would end the thread; nothing is known to throw, but the server shall live on.
    void run_io() {
        while (true) {
            try {
                io_.run();
                return;
            } catch (const std::exception& e) {
                context_->options.log.often(LogLevel::error, "work for the network failed",
                                            {{"error", e.what()}});
            }
        }
    }

    template <class Action>
    void for_each(Action action) {
        for (auto& [key, entry] : connections_) action(*entry.connection);
    }

    net::awaitable<void> accept_loop() {
        while (!context_->draining) {
            error_code error;
            tcp::socket socket(net::make_strand(io_));
            co_await acceptor_.async_accept(socket, net::redirect_error(net::use_awaitable, error));
            if (context_->draining) break;
            const Log& log = context_->options.log;
            bool pause = bool(error);
            if (pause)
                log.often(LogLevel::warn, "connections cannot be accepted for now",
                          {{"error", error.message()}});
            try {
                if (!error) pause = !admit(std::move(socket));
            } catch (const std::exception& e) {
                log.often(LogLevel::warn, "a connection cannot be served", {{"error", e.what()}});
                pause = true;
            }
            if (pause) {
                // Out of descriptors, or more connections to turn away than there is room for: the others
                // wait in the kernel's queue until some have ended.
                retry_.expires_after(20ms);
                co_await retry_.async_wait(net::redirect_error(net::use_awaitable, error));
            }
        }
        std::lock_guard lock(mutex_);
        accepting_ = false;
        changed_.notify_all();
    }

    // Returns false if accepting should pause.
    bool admit(tcp::socket socket) {
        std::size_t limit = context_->options.limits.connections;
        std::lock_guard lock(mutex_);
        bool refuse = admitted_ >= limit;
        if (refuse)
            context_->options.log.often(LogLevel::debug, "a connection is refused: there are too many");
        if (refuse && context_->tls) return true;  // a handshake is too much work for a refusal
        auto connection = make_connection(std::move(socket), context_, refuse);
        (refuse ? refused_ : admitted_)++;
        connections_.emplace(connection.get(), Entry{connection, refuse});
        connection->start();
        return refused_ < std::max<std::size_t>(64, limit / 2);
    }

    net::io_context io_;
    net::strand<net::io_context::executor_type> strand_ = net::make_strand(io_);
    tcp::acceptor acceptor_{strand_};
    net::steady_timer retry_{strand_};
    std::vector<std::thread> threads_;

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::unordered_map<Connection*, Entry> connections_;
    std::size_t admitted_ = 0, refused_ = 0;
    bool accepting_ = true;
};

HttpServer::HttpServer(HttpOptions options, std::vector<Route> routes)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(routes))) {}
HttpServer::~HttpServer() { stop(); }
void HttpServer::start() { impl_->start(); }
std::uint16_t HttpServer::port() const { return impl_->port_; }
std::string HttpServer::url() const { return impl_->url_; }
std::size_t HttpServer::connections() const { return impl_->connections(); }
int HttpServer::missing_threads() const { return impl_->missing_threads_; }
void HttpServer::set_routes(std::vector<Route> routes) {
    impl_->context_->set_router(std::make_shared<const Router>(std::move(routes)));
}
void HttpServer::stop(std::chrono::steady_clock::time_point deadline) { impl_->stop(deadline); }

}  // namespace cachalot::server
