// Reads TOML tables key by key and notes all that is wrong with them.
#pragma once

#include <stdexcept>

namespace ftvmm::config {

// Some bad files run toml++ 3.3 into its own assertions, "[[[" for one. They must end in a problem,
// not in an abort, nor be taken for granted as NDEBUG would have it.
constexpr void toml_assertion(bool holds) {
    if (!holds) throw std::invalid_argument("this is not TOML");
}

}  // namespace ftvmm::config

#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expr) ::ftvmm::config::toml_assertion(static_cast<bool>(expr))
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/problem.h"

namespace ftvmm::config {

// Where a value begins in its file.
struct Place {
    std::uint32_t line = 0;
    std::uint32_t column = 0;
};

[[nodiscard]] Place place_of(const toml::source_region& region);

template <class T>
struct Placed {
    T value{};
    Place place;
};

// Gathers the problems of one file.
class ProblemLog {
  public:
    explicit ProblemLog(std::string file) : file_(std::move(file)) {}

    void add(Place place, std::string what, std::string advice = {});
    // All of them, in the order of the file.
    [[nodiscard]] Problems take();
    [[nodiscard]] bool empty() const { return problems_.empty(); }

  private:
    std::string file_;
    Problems problems_;
};

// One table. Each key is asked for once, by the method of its type: nothing comes back where it is
// absent, and where it is of another type, which is noted. What was never asked for is unknown.
// `table` and `log` outlive the reader.
class TableReader {
  public:
    // `title` is how messages name the table: "[cpu]", or "the file".
    TableReader(const toml::table& table, std::string title, ProblemLog& log)
        : table_(table), title_(std::move(title)), log_(log) {}

    // A string that is not empty and holds no control characters.
    [[nodiscard]] std::optional<Placed<std::string>> text(std::string_view key);
    [[nodiscard]] std::optional<Placed<bool>> boolean(std::string_view key);
    // The value itself, for keys of more than one type; null where it is absent.
    [[nodiscard]] const toml::node* node(std::string_view key);
    // [key], or null.
    [[nodiscard]] const toml::table* table(std::string_view key);
    // Each [[key]].
    [[nodiscard]] std::vector<const toml::table*> tables(std::string_view key);

    // Notes that `key` is needed, with an `example` line, unless the file has it, of whatever type.
    void require(std::string_view key, std::string_view example);
    // Notes every key that was not asked for. Call it last.
    void refuse_unknown();

    [[nodiscard]] Place place() const { return place_of(table_.source()); }
    [[nodiscard]] const std::string& title() const { return title_; }

  private:
    void note_type(std::string_view key, const toml::node& node, std::string_view wanted);

    const toml::table& table_;
    std::string title_;
    ProblemLog& log_;
    std::vector<std::string_view> known_;
};

}  // namespace ftvmm::config
