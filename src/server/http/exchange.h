// The transport's ResponseWriter: a mailbox between the thread that writes an answer and the connection that
// sends it.
//
// An endpoint's thread appends bytes, framed for the wire, and returns at once; the connection, woken up,
// takes what has gathered. The mailbox is bounded: if more than `max_unsent` bytes wait for a client that
// does not read them, the client counts as gone. Both sides may outlive each other: after detach() nobody is
// woken any more.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "server/exchange.h"

namespace cachalot::server {

class Exchange {
  public:
    struct Options {
        std::string path;        // for the shape of errors
        std::string request_id;  // for the log
        Log log = {};
        bool head = false;           // headers only
        bool chunked = true;         // false: the body of a stream ends with the connection (HTTP/1.0)
        bool keep_alive = true;      // what the Connection header says
        bool http10 = false;         // which has to be told that the connection stays open
        std::string common_headers;  // complete lines, sent with whatever answer
        std::size_t max_unsent = 1 << 20;
        std::size_t keep_text = 0;  // bytes of each body to remember for the audit log
    };
    Exchange(Options options, std::function<void()> wake);

    // The writer that an endpoint gets. When its last copy is dropped before the answer is complete, the
    // request ends as error 500, or the stream breaks off.
    static std::shared_ptr<ResponseWriter> writer(std::shared_ptr<Exchange> exchange);

    void respond(int status, std::string_view content_type, std::string body,
                 const ResponseWriter::Headers& extra);
    void start_stream(const ResponseWriter::Headers& extra);
    void write(std::string_view bytes);
    void finish();
    void abandon();
    void annotate(const Annotation& annotation);
    const Options& options() const { return options_; }
    void note_request(std::string_view body);  // for the audit log, before the endpoint is called
    bool client_gone() const { return gone_.load(std::memory_order_relaxed); }

    // The connection's side. take() swaps waiting bytes into `out` (which must be empty) and returns whether
    // the answer is complete with them.
    bool take(std::string& out);
    void client_left();  // no effect on an answer that is complete
    // Sends what every answer begins with, or a comment in a stream, if the answer is not complete: a client
    // that has closed its side of the connection either waits for the answer, or is gone and refuses whatever
    // it is sent.
    void probe();
    void detach();  // the connection has ended, or is done with this request
    bool keep_alive() const { return keep_alive_.load(); }

    struct Result {
        int status = 0;  // 0: nothing was sent
        bool complete = false;
        Annotation annotation;
        std::string request_text, text;  // of the bodies, as much as is kept
    };
    Result result() const;

  private:
    enum class State { waiting, streaming, complete };
    void append_head(int status, std::string_view content_type, const ResponseWriter::Headers& extra,
                     const std::string& framing);
    void remember(std::string_view text);
    void wake();

    const Options options_;
    mutable std::mutex mutex_;
    std::function<void()> wake_;
    bool woken_ = false;  // and has not taken since
    State state_ = State::waiting;
    bool broken_ = false;  // the stream broke off
    bool begun_ = false;   // the first bytes of the answer are out, by probe()
    std::string output_;
    Result result_;
    std::atomic<bool> gone_{false}, keep_alive_;
};

}  // namespace cachalot::server
