// The small client with which `launch` asks a server whether it is ready.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <thread>

#include "base/error.h"
#include "server/http/client.h"

namespace cachalot::server {
namespace {

namespace net = boost::asio;
using net::ip::tcp;

// A server that takes one connection and handles it so.
template <class Handle>
class OneConnection {
  public:
    explicit OneConnection(Handle handle)
        : thread_([this, handle] {
              tcp::socket socket(io_);
              acceptor_.accept(socket);
              handle(socket);
          }) {}
    ~OneConnection() { thread_.join(); }
    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  private:
    net::io_context io_;
    tcp::acceptor acceptor_{io_, {net::ip::address_v4::loopback(), 0}};
    std::thread thread_;
};

void read_request(tcp::socket& socket) {
    net::streambuf request;
    net::read_until(socket, request, "\r\n\r\n");
}

// A process that ends while it is asked: the system closes its connections, with or without a reset.
TEST(HttpGet, AServerThatEndsBeforeItAnswersIsNotThere) {
    OneConnection reset([](tcp::socket& socket) { socket.set_option(net::socket_base::linger(true, 0)); });
    EXPECT_FALSE(http_get("127.0.0.1", reset.port(), "/ready"));
    OneConnection closed([](tcp::socket& socket) { read_request(socket); });
    EXPECT_FALSE(http_get("127.0.0.1", closed.port(), "/ready"));
    EXPECT_FALSE(http_get("127.0.0.1", free_port(), "/ready"));
}

TEST(HttpGet, WhatIsNotHttpIsAnError) {
    OneConnection other([](tcp::socket& socket) {
        read_request(socket);
        net::write(socket, net::buffer("220 mail.example.com ready\r\n\r\n", 30));
    });
    EXPECT_THROW(http_get("127.0.0.1", other.port(), "/ready"), Error);
}

}  // namespace
}  // namespace cachalot::server
