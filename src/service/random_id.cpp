#include "service/random_id.h"

#include <random>

namespace cachalot::server {

std::string random_id(std::string_view prefix, std::size_t length) {
    constexpr std::string_view kAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::random_device device;
    std::uniform_int_distribution<std::size_t> letter(0, kAlphabet.size() - 1);
    std::string id(prefix);
    for (std::size_t i = 0; i < length; ++i) id += kAlphabet[letter(device)];
    return id;
}

}  // namespace cachalot::server
