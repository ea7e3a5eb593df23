#include "grammar/json_formats.h"

#include <array>
#include <utility>

namespace cachalot::grammar {
namespace {

// Where a format has rare forms that validators disagree about (leap seconds, quoted mailboxes, ...), the
// pattern leaves them out: what is written has to please all of them.

#define OCTET R"((?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))"
#define IPV4 OCTET R"((?:\.)" OCTET R"(){3})"
#define H16 R"([0-9a-fA-F]{1,4})"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define DATE                                                                                       \
    R"((?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30))" \
    R"(|02-(?:0[1-9]|1\d|2[0-8]))|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29))"
#define TIME R"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[zZ]|[+-](?:[01]\d|2[0-3]):[0-5]\d))"
#define LABEL R"([a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)"
#define SUBDOMAINS LABEL R"((?:\.)" LABEL R"(){0,8})"
#define URI_CHAR R"((?:[a-zA-Z0-9._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2}))"

constexpr std::array<std::pair<std::string_view, const char*>, 10> kFormats = {{
    {"date", "^" DATE "$"},
    {"time", "^" TIME "$"},
    {"date-time", "^" DATE "[tT]" TIME "$"},
    {"duration", R"(^P(?:\d{1,9}W|(?:\d{1,9}Y(?:\d{1,9}M(?:\d{1,9}D)?)?|\d{1,9}M(?:\d{1,9}D)?|\d{1,9}D))"
                 R"((?:T(?:\d{1,9}H(?:\d{1,9}M(?:\d{1,9}S)?)?|\d{1,9}M(?:\d{1,9}S)?|\d{1,9}S))?)"
                 R"(|T(?:\d{1,9}H(?:\d{1,9}M(?:\d{1,9}S)?)?|\d{1,9}M(?:\d{1,9}S)?|\d{1,9}S))$)"},
    {"uuid", R"(^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$)"},
    {"email", R"(^[a-zA-Z0-9_+-]+(?:\.[a-zA-Z0-9_+-]+)*@)"
              R"((?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)+[a-zA-Z]{2,}$)"},
    {"hostname", "^" SUBDOMAINS "$"},
    {"ipv4", "^" IPV4 "$"},
    {"ipv6", "^(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32
             "|(?:(?:" H16 ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16 ")?::(?:" H16
             ":){2}" LS32 "|(?:(?:" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16 ":){0,4}" H16
             ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16 "|(?:(?:" H16 ":){0,6}" H16 ")?::)$"},
    {"uri", R"(^[a-zA-Z][a-zA-Z0-9+.-]*:(?://(?:[a-zA-Z0-9._~-]+@)?)" SUBDOMAINS
            R"((?::\d{1,4})?(?:/)" URI_CHAR R"(*)*|)" URI_CHAR R"((?:)" URI_CHAR R"(|/)*)(?:\?(?:)" URI_CHAR
            R"(|[/?])*)?(?:#(?:)" URI_CHAR R"(|[/?])*)?$)"},
}};

#undef OCTET
#undef IPV4
#undef H16
#undef LS32
#undef DATE
#undef TIME
#undef LABEL
#undef SUBDOMAINS
#undef URI_CHAR

}  // namespace

const char* pattern_of_format(std::string_view format) {
    for (const auto& [name, pattern] : kFormats)
        if (name == format) return pattern;
    return nullptr;
}

}  // namespace cachalot::grammar
