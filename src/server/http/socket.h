// A TCP socket, plain or under TLS, behind one interface. Its executor is a strand, on which all handlers
// run.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>

#include "server/http/tls.h"

namespace cachalot::server {

class Socket {
  public:
    using Handler = std::function<void(boost::system::error_code, std::size_t)>;
    virtual ~Socket() = default;

    virtual boost::asio::ip::tcp::socket& tcp() = 0;
    virtual void async_read_some(boost::asio::mutable_buffer buffer, Handler handler) = 0;
    virtual void async_write_some(boost::asio::const_buffer buffer, Handler handler) = 0;

    // The exchanges at the beginning and the end that TLS has. Without TLS nothing, and the end of our
    // direction.
    virtual void async_handshake(Handler handler) = 0;
    virtual void async_shutdown(Handler handler) = 0;
};

// `tls`: none for a plain socket.
std::unique_ptr<Socket> make_socket(boost::asio::ip::tcp::socket socket, TlsContext* tls);

}  // namespace cachalot::server
