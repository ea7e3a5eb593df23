#include "server/http/socket.h"

#include <boost/asio/post.hpp>
#ifdef CACHALOT_TLS
#include <boost/asio/ssl/stream.hpp>
#endif

namespace cachalot::server {
namespace {

namespace net = boost::asio;
using boost::system::error_code;

class PlainSocket final : public Socket {
  public:
    explicit PlainSocket(net::ip::tcp::socket socket) : socket_(std::move(socket)) {}

    net::ip::tcp::socket& tcp() override { return socket_; }
    void async_read_some(net::mutable_buffer buffer, Handler handler) override {
        socket_.async_read_some(buffer, std::move(handler));
    }
    void async_write_some(net::const_buffer buffer, Handler handler) override {
        socket_.async_write_some(buffer, std::move(handler));
    }
    void async_handshake(Handler handler) override { succeed(std::move(handler)); }
    void async_shutdown(Handler handler) override {
        error_code ignored;
        socket_.shutdown(net::ip::tcp::socket::shutdown_send, ignored);
        succeed(std::move(handler));
    }

  private:
    void succeed(Handler handler) {
        net::post(socket_.get_executor(), [handler = std::move(handler)] { handler({}, 0); });
    }

    net::ip::tcp::socket socket_;
};

#ifdef CACHALOT_TLS
class TlsSocket final : public Socket {
  public:
    TlsSocket(net::ip::tcp::socket socket, TlsContext& tls) : stream_(std::move(socket), tls) {}

    net::ip::tcp::socket& tcp() override { return stream_.next_layer(); }
    void async_read_some(net::mutable_buffer buffer, Handler handler) override {
        stream_.async_read_some(buffer, std::move(handler));
    }
    void async_write_some(net::const_buffer buffer, Handler handler) override {
        stream_.async_write_some(buffer, std::move(handler));
    }
    void async_handshake(Handler handler) override {
        stream_.async_handshake(net::ssl::stream_base::server,
                                [handler = std::move(handler)](error_code error) { handler(error, 0); });
    }
    void async_shutdown(Handler handler) override {
        stream_.async_shutdown([handler = std::move(handler)](error_code error) { handler(error, 0); });
    }

  private:
    net::ssl::stream<net::ip::tcp::socket> stream_;
};
#endif

}  // namespace

std::unique_ptr<Socket> make_socket(net::ip::tcp::socket socket, [[maybe_unused]] TlsContext* tls) {
#ifdef CACHALOT_TLS
    if (tls) return std::make_unique<TlsSocket>(std::move(socket), *tls);
#endif
    return std::make_unique<PlainSocket>(std::move(socket));
}

}  // namespace cachalot::server
