// One client's connection, as the listener sees it.
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <mutex>
#include <string>

#include "server/http/pace.h"
#include "server/http/request_workers.h"
#include "server/http/router.h"
#include "server/http/served_queue.h"
#include "server/http/server.h"
#include "server/http/tls.h"

namespace cachalot::server {

class Connection {
  public:
    virtual ~Connection() = default;
    virtual void start() = 0;
    // From any thread. drain: close when idle, or after the request that is running; abort: now.
    virtual void drain() = 0;
    virtual void abort() = 0;
};

// A number of bytes that many share. Thread-safe.
class ByteBudget {
  public:
    explicit ByteBudget(std::size_t bytes) : left_(bytes) {}
    bool take(std::size_t bytes) {
        std::size_t left = left_.load();
        while (left >= bytes)
            if (left_.compare_exchange_weak(left, left - bytes)) return true;
        return false;
    }
    void give(std::size_t bytes) { left_ += bytes; }

  private:
    std::atomic<std::size_t> left_;
};

// Bytes that are held of a budget, by whoever still needs them.
class HeldBytes {
  public:
    explicit HeldBytes(ByteBudget& budget) : budget_(budget) {}
    ~HeldBytes() { budget_.give(bytes_); }
    HeldBytes(const HeldBytes&) = delete;
    // Holds `bytes` in all, more than before. False if there are not so many.
    bool grow(std::size_t bytes) {
        if (!budget_.take(bytes - bytes_)) return false;
        bytes_ = bytes;
        return true;
    }

  private:
    ByteBudget& budget_;
    std::size_t bytes_ = 0;
};

// What all connections share; outlives them.
struct ConnectionContext {
    explicit ConnectionContext(HttpOptions o) : options(std::move(o)) {}

    const HttpOptions options;
    HostList hosts;
    std::shared_ptr<TlsContext> tls;  // none: plain
    ByteBudget bodies{options.limits.bodies};
    // Reading large requests as fast as they come would take the processors from the answers.
    Pace large_requests{32e6};
    RequestWorkers workers{options.request_threads, options.limits.unread, options.log};
    ServedQueue served{options.on_served, options.log};
    std::atomic<bool> draining{false};
    std::function<void(Connection*)> on_closed;  // on the connection's strand, the last thing it does

    std::shared_ptr<const Router> router() const {
        std::lock_guard lock(mutex_);
        return router_;
    }
    void set_router(std::shared_ptr<const Router> router) {
        std::lock_guard lock(mutex_);
        router_ = std::move(router);
    }

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<const Router> router_;
};

// The socket's executor must be a strand. `refuse`: answer 503 to whatever comes and close.
std::shared_ptr<Connection> make_connection(boost::asio::ip::tcp::socket socket,
                                            std::shared_ptr<ConnectionContext> context, bool refuse);

}  // namespace cachalot::server
