// A socket as a coroutine sees it: two buffers, one deadline, one place to wait.
//
// The coroutine never waits for the network itself. Reads and writes are single operations whose handlers put
// down what happened and wake the coroutine through one timer, which also carries the current deadline. So
// every wait has a time limit, whatever wakes it, and nothing ever has to be cancelled:
//
//     socket --read--> input -->  [ coroutine ]  <--wake()-- anybody on the strand
//                                      |
//     socket <--written-------------- output
//
// Everything here runs on the socket's strand.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "server/http/pace.h"
#include "server/http/server.h"
#include "server/http/socket.h"

namespace cachalot::server {

class Wire : public std::enable_shared_from_this<Wire> {
  public:
    using Clock = std::chrono::steady_clock;
    using Condition = std::function<bool()>;

    // Both must outlive the wire, which outlives its owner while an operation is under way. `large_requests`
    // is the pace of what is beyond kUnpaced bytes of a request.
    Wire(std::unique_ptr<Socket> socket, const HttpLimits& limits, Pace& large_requests);
    static constexpr std::size_t kUnpaced = std::size_t{1} << 20;

    auto executor() { return timer_.get_executor(); }
    std::string local_address();

    // ---- waiting ----

    void wake() { timer_.cancel(); }
    void set_deadline(Clock::duration from_now);
    void clear_deadline();

    // Until wake() or the deadline. The caller looks again at what it waits for.
    boost::asio::awaitable<void> sleep();

    // No waiting any more, and an abrupt end.
    void abort();
    bool aborted() const { return aborted_; }

    // ---- the beginning and the end ----

    boost::asio::awaitable<bool> handshake();  // whether it succeeded, within header_time

    // Closes so that the client can read what it was sent last. Closing a socket with unread input resets it,
    // which would take the answer away; so wait, for a while, until the client has closed its side.
    boost::asio::awaitable<void> close_gently();
    void close();

    // ---- input ----

    std::string input;  // received, not yet parsed

    void begin_request() { received_ = 0; }
    // Has the socket read, unless it does already or enough waits in `input`. Wakes when something came.
    void read_ahead();
    bool ended() const { return ended_; }    // the client has closed its side, or the connection is broken
    bool broken() const { return broken_; }  // nothing can be sent any more
    const boost::system::error_code& error() const { return error_; }  // the last one of the socket, if any
    // After the end of input: wakes when the client refuses what it is sent, after which the connection is
    // broken.
    void notice_reset();

    enum class Read { data, ended, late };
    // Waits for more input than there is, until the deadline, or until `stop` when woken: then it counts as
    // ended. The deadline moves by the time for which the pace of large requests kept the input waiting.
    boost::asio::awaitable<Read> more_input(Condition stop = {});

    // ---- output ----

    std::string output;  // to be sent; not to be touched before send() returned true

    // Sends all of `output`, as long as there is progress and `give_up`, asked when woken, says no. Returns
    // whether all was sent. After false nothing more can be sent.
    boost::asio::awaitable<bool> send(Condition give_up = {});
    bool unsent() const { return writing_ || broken_ || !output.empty(); }

  private:
    struct Outcome {
        bool done = false;
        boost::system::error_code error;
    };
    Socket::Handler record(std::shared_ptr<Outcome> outcome);
    boost::asio::awaitable<void> sleep_until(Clock::time_point end);
    void fail(boost::system::error_code error) {
        broken_ = true;
        error_ = error;
    }
    boost::asio::awaitable<void> keep_pace();

    static constexpr std::size_t kReadSize = 16 << 10, kPaceStep = 64 << 10;

    std::unique_ptr<Socket> socket_;
    boost::asio::steady_timer timer_;
    const HttpLimits& limits_;
    Pace& large_requests_;
    std::size_t received_ = 0;  // of this request
    std::size_t unpaced_ = 0;   // of it, beyond kUnpaced and since the last pause
    Clock::time_point deadline_ = Clock::time_point::max();
    bool late_ = false;     // the deadline has passed
    bool aborted_ = false;  // the server stops now
    bool ended_ = false;
    bool broken_ = false;   // a write failed, or the client has reset the connection
    bool refused_ = false;  // the handshake failed
    boost::system::error_code error_;
    bool reading_ = false, writing_ = false;
    std::size_t written_ = 0;
    std::array<char, kReadSize> read_buffer_;
};

}  // namespace cachalot::server
