// Random answers of a model: events as a service sends them.
#pragma once

#include <rapidcheck.h>

#include "server/fake_service.h"

namespace cachalot::server {

inline std::string random_text() {
    return *rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab {}\"\\\n\t")));
}

// Runs of reasoning, content and calls in any order, a finish reason, `done`; between them progress and empty
// text.
inline std::vector<Event> random_answer() {
    std::vector<Event> events = {make_event(Kind::started)};
    const int runs = *rc::gen::inRange(0, 8);
    std::size_t call = 0;
    for (int i = 0; i < runs; ++i) {
        const int kind = *rc::gen::inRange(0, 4);
        const int pieces = *rc::gen::inRange(0, 4);
        if (kind == 3) {
            events.push_back(progress(i, runs));
        } else if (kind == 2) {
            events.push_back(call_start(call, fmt::format("call_{}", call), "tool"));
            events.push_back(call_arguments(call, "{"));
            if (pieces > 0) events.push_back(call_arguments(call, "\"x\": "));
            if (pieces > 0) events.push_back(call_arguments(call, std::to_string(pieces)));
            events.push_back(call_arguments(call, "}"));
            events.push_back(call_end(call++));
        } else {
            for (int p = 0; p < pieces; ++p)
                events.push_back(make_event(kind == 0 ? Kind::reasoning : Kind::content, random_text()));
        }
    }
    events.push_back(finished(*rc::gen::element<std::string>("stop", "length", "tool_calls"),
                              *rc::gen::element<std::string>("", "END")));
    const std::int64_t cached = *rc::gen::inRange(0, 100);
    events.push_back(done({100, cached, 20, 5}));
    return events;
}

}  // namespace cachalot::server
