#include "experts/engram_budget.h"

#include "experts/expert_budget.h"

namespace cachalot {

std::optional<std::uint64_t> engram_budget(std::string_view text, std::uint64_t table_bytes,
                                           std::string_view option) {
    if (text == "all") return {};
    if (text == "off") return 0;
    const double bytes = text.ends_with('%')
                             ? parse_share(text, "all rows", option) * static_cast<double>(table_bytes)
                             : parse_bytes(text, option);
    if (bytes >= static_cast<double>(table_bytes)) return {};
    return static_cast<std::uint64_t>(bytes);
}

}  // namespace cachalot
