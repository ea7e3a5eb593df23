#include "cli/expert_cache_report.h"

#include "cli/command.h"

namespace cachalot::cli {
namespace {

using Traffic = CacheTraffic;

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }
double hit_rate(const Traffic& t) {
    return ratio(static_cast<double>(t.hits), static_cast<double>(t.lookups));
}
double bytes_per_token(const Traffic& t) {
    return ratio(static_cast<double>(t.bytes_read), static_cast<double>(t.tokens));
}
double wait_per_token(const Traffic& t) { return ratio(t.wait_seconds, static_cast<double>(t.tokens)); }

}  // namespace

Traffic difference(const Traffic& before, const Traffic& after) {
    return {after.tokens - before.tokens,
            after.lookups - before.lookups,
            after.hits - before.hits,
            after.ahead - before.ahead,
            after.bytes_read - before.bytes_read,
            after.wait_seconds - before.wait_seconds};
}

std::string traffic_text(const Traffic& t) {
    const std::string ahead =
        t.ahead ? fmt::format(", {:.1f} % read ahead",
                              100 * ratio(static_cast<double>(t.ahead), static_cast<double>(t.lookups)))
                : "";
    return fmt::format("{:.1f} % hits{}, {} read and {:.1f} ms waited per token", 100 * hit_rate(t), ahead,
                       human_bytes(static_cast<std::uint64_t>(bytes_per_token(t))), 1e3 * wait_per_token(t));
}

nlohmann::ordered_json traffic_json(const Traffic& t) {
    return {{"tokens", t.tokens},
            {"lookups", t.lookups},
            {"hits", t.hits},
            {"hit_rate", hit_rate(t)},
            {"ahead", t.ahead},
            {"bytes_read_per_token", bytes_per_token(t)},
            {"wait_seconds_per_token", wait_per_token(t)}};
}

std::string expert_cache_text(const ExpertCacheStats& s) {
    const auto bytes = static_cast<std::uint64_t>(s.slots + s.ahead) * s.slot_bytes;
    return fmt::format(
        "experts   {} of {} fit into {}{}, read {}with {}{}{}{}\n"
        "  prompt  {}\n"
        "  answer  {}\n",
        s.slots, s.experts, human_bytes(bytes), s.locked ? ", locked" : "",
        s.packs == 1  ? "from a pack "
        : s.packs > 1 ? fmt::format("from {} packs ", s.packs)
                      : "",
        s.method, s.direct ? " past the page cache" : "",
        s.warming ? fmt::format("; {} are still to be read that were used before", s.warming) : "",
        s.failed_reads ? fmt::format("; {} reads have failed", s.failed_reads) : "", traffic_text(s.prompt),
        traffic_text(s.decode));
}

nlohmann::ordered_json expert_cache_json(const ExpertCacheStats& s) {
    return {{"slots", s.slots},
            {"ahead", s.ahead},
            {"warming", s.warming},
            {"experts", s.experts},
            {"packs", s.packs},
            {"failed_reads", s.failed_reads},
            {"slot_bytes", s.slot_bytes},
            {"locked", s.locked},
            {"direct", s.direct},
            {"method", s.method},
            {"prompt", traffic_json(s.prompt)},
            {"decode", traffic_json(s.decode)}};
}

std::string engram_text(const EngramStats& s) {
    return fmt::format(
        "engram    {} of {} rows fit into {}, read with {}{}\n"
        "  prompt  {}\n"
        "  answer  {}\n",
        s.rows, s.table_rows, human_bytes(s.cache_bytes), s.method, s.direct ? " past the page cache" : "",
        traffic_text(s.prompt), traffic_text(s.decode));
}

nlohmann::ordered_json engram_json(const EngramStats& s) {
    return {{"rows", s.rows},
            {"table_rows", s.table_rows},
            {"cache_bytes", s.cache_bytes},
            {"table_bytes", s.table_bytes},
            {"direct", s.direct},
            {"method", s.method},
            {"prompt", traffic_json(s.prompt)},
            {"decode", traffic_json(s.decode)}};
}

}  // namespace cachalot::cli
