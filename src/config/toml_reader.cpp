#include "config/toml_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "config/did_you_mean.h"

namespace ftvmm::config {

namespace {

const char* name_of_type(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::string:
            return "a string";
        case toml::node_type::integer:
            return "an integer";
        case toml::node_type::floating_point:
            return "a number with a fraction";
        case toml::node_type::boolean:
            return "a boolean";
        case toml::node_type::table:
            return "a table";
        case toml::node_type::array:
            return "an array";
        default:
            return "a date or time";
    }
}

bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

}  // namespace

Place place_of(const toml::source_region& region) {
    return Place{region.begin.line, region.begin.column};
}

void ProblemLog::add(Place place, std::string what, std::string advice) {
    // Keys may hold anything, and some of toml++'s messages have several lines.
    std::ranges::replace_if(what, is_control, ' ');
    problems_.push_back(
        Problem{file_, place.line, place.column, std::move(what), std::move(advice)});
}

Problems ProblemLog::take() {
    std::ranges::stable_sort(problems_, {}, [](const Problem& problem) {
        return std::tuple(problem.line, problem.column);
    });
    return std::exchange(problems_, {});
}

const toml::node* TableReader::node(std::string_view key) {
    known_.push_back(key);
    return table_.get(key);
}

void TableReader::note_type(std::string_view key, const toml::node& node, std::string_view wanted) {
    log_.add(place_of(node.source()),
             fmt::format("{} is {}, where {} is needed", key, name_of_type(node), wanted));
}

std::optional<Placed<std::string>> TableReader::text(std::string_view key) {
    const toml::node* found = node(key);
    if (found == nullptr) return std::nullopt;
    return text_of(key, *found);
}

std::vector<Placed<std::string>> TableReader::texts(std::string_view key) {
    const toml::node* found = node(key);
    if (found == nullptr) return {};
    const auto* array = found->as_array();
    if (array == nullptr) {
        note_type(key, *found, "an array of strings");
        return {};
    }
    std::vector<Placed<std::string>> texts;
    for (const toml::node& element : *array) {
        if (auto text = text_of(key, element)) texts.push_back(std::move(*text));
    }
    return texts;
}

std::optional<Placed<std::string>> TableReader::text_of(std::string_view key,
                                                        const toml::node& node) {
    const auto* value = node.as_string();
    if (value == nullptr) {
        note_type(key, node, "a string");
        return std::nullopt;
    }
    const Place place = place_of(node.source());
    if (value->get().empty()) {
        log_.add(place, fmt::format("{} is empty", key), "give it a value or leave the line out");
        return std::nullopt;
    }
    if (std::ranges::any_of(value->get(), is_control)) {
        log_.add(place, fmt::format("{} holds a control character", key),
                 "write it as one line of plain text");
        return std::nullopt;
    }
    return Placed<std::string>{value->get(), place};
}

std::optional<Placed<bool>> TableReader::boolean(std::string_view key) {
    const toml::node* found = node(key);
    if (found == nullptr) return std::nullopt;
    if (const auto* value = found->as_boolean()) {
        return Placed<bool>{value->get(), place_of(found->source())};
    }
    note_type(key, *found, "true or false");
    return std::nullopt;
}

std::optional<Placed<std::int64_t>> TableReader::integer(std::string_view key) {
    const toml::node* found = node(key);
    if (found == nullptr) return std::nullopt;
    if (const auto* value = found->as_integer()) {
        return Placed<std::int64_t>{value->get(), place_of(found->source())};
    }
    note_type(key, *found, "a whole number");
    return std::nullopt;
}

const toml::table* TableReader::table(std::string_view key) {
    const toml::node* found = node(key);
    if (found == nullptr) return nullptr;
    if (!found->is_table()) note_type(key, *found, fmt::format("a table [{}]", key));
    return found->as_table();
}

std::vector<const toml::table*> TableReader::tables(std::string_view key) {
    const toml::node* found = node(key);
    if (found == nullptr) return {};
    const toml::array* array = found->as_array();
    if (array == nullptr) {
        note_type(key, *found, fmt::format("one table [[{}]] for each", key));
        return {};
    }
    std::vector<const toml::table*> tables;
    for (const toml::node& element : *array) {
        if (!element.is_table()) {
            note_type(key, element, fmt::format("a table [[{}]]", key));
        } else {
            tables.push_back(element.as_table());
        }
    }
    return tables;
}

void TableReader::require(std::string_view key, std::string_view example) {
    if (table_.contains(key)) return;
    log_.add(place(), fmt::format("{} has no {}", title_, key),
             fmt::format("add a line such as {}", example));
}

void TableReader::refuse_unknown() {
    for (const auto& [key, value] : table_) {
        if (std::ranges::find(known_, key.str()) != known_.end()) continue;
        const auto guess = did_you_mean(key.str(), known_);
        log_.add(place_of(key.source()),
                 fmt::format("{} has no key \"{}\"", title_, std::string_view(key.str())),
                 guess ? fmt::format("did you mean {}?", *guess)
                       : fmt::format("the keys here are {}", fmt::join(known_, ", ")));
    }
}

}  // namespace ftvmm::config
