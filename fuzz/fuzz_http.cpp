// Bytes of a connection to requests: read, judged, routed; refused with a status that exists, never anything
// else.
//
// Input: one byte with the size of the pieces that arrive, then the bytes.
#include <algorithm>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "server/http/admission.h"
#include "server/http/request_reader.h"

using namespace cachalot;
using namespace cachalot::server;

namespace {

struct Server {
    HttpOptions options;
    HostList hosts;
    Router router;
    Server()
        : router(
              {{"GET", "/health", {}, true}, {"POST", "/v1/messages", {}}, {"GET", "/v1/models/{id}", {}}}) {
        options.keys.add("name=secret");
        options.cors.allow("https://chat.example");
        options.limits.header = 4096;
        options.limits.body = 4096;
    }
};

void check(const Refusal& refusal) {
    CACHALOT_CHECK(refusal.status >= 400 || refusal.status == 204);
    CACHALOT_CHECK(std::string_view(status_text(refusal.status)) != "Unknown");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Server server;
    if (size == 0) return 0;
    const std::size_t piece = std::size_t(1) + data[0];
    std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    std::string input;
    while (!bytes.empty()) {  // one request after another
        RequestReader reader(server.options.limits);
        HttpRequest request;
        Refusal refusal;
        bool judged = false;
        while (!reader.done() && !bytes.empty()) {
            input += bytes.substr(0, piece);
            bytes.remove_prefix(std::min(piece, bytes.size()));
            if (!reader.feed(input, refusal)) return check(refusal), 0;
            if (!reader.header_done() || judged) continue;
            judged = true;
            if (!reader.take_header(request, refusal)) return check(refusal), 0;
            const Admission admission =
                admit(request, reader, server.options, server.hosts, server.router, "127.0.0.1");
            if (admission.refusal) return check(*admission.refusal), 0;
            CACHALOT_CHECK(admission.route);
            CACHALOT_CHECK(admission.route->open || admission.key_name == "name");
            reader.begin_body();
            if (!reader.feed(input, refusal)) return check(refusal), 0;
        }
        CACHALOT_CHECK(reader.body_size() <= server.options.limits.body);
    }
    return 0;
}
