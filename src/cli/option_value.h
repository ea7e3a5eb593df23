// Values of options, checked before CLI11 converts them. What kind of value an option takes is said by the
// name of its type, which --help shows: N, K and MIB are whole numbers, TOKENS counts with k and m for 1024
// and 1024 x 1024, X, S, MS and PERCENT are real numbers, and "N,.." is a list. CLI11 itself would take "nan"
// and "inf" as numbers, read 010 as eight, and cut off what is too large.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

namespace cachalot::cli {

// `value` as CLI11 shall read it. Throws Error without the option's name: "the value is empty", "'nan' is no
// number".
std::string checked_value(const CLI::Option& option, const std::string& value);

// Refuses each value that `check` throws an Error for, with its message. `expected` is what --help shows.
CLI::Validator checked_by(std::function<void(const std::string&)> check, const std::string& expected = "");

// One of these words; for another one, the likeliest is named.
CLI::Validator one_of(std::vector<std::string> words);

// For real numbers; the bounds of at_least() and `most` are allowed.
CLI::Validator at_least(double least);
CLI::Validator more_than(double bound, double most);

// For options of a SIZE that are kept as a number of bytes: "8GB", "8GiB", "0".
CLI::Validator as_bytes();

}  // namespace cachalot::cli
