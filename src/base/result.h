// Operating errors as values: peer gone, disk full, device missing, bad configuration.
//
// A function that can fail for a reason outside the program returns Result<T>. The Error says what
// happened and, where the user can do something, what to do; each caller that knows more puts its
// context in front, once. Programmer errors are FTVMM_CHECK (check.h), never an Error.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace ftvmm {

class Error {
  public:
    // `what` is one sentence without a full stop; `advice` is what the user can do, or empty.
    explicit Error(std::string what, std::string advice = {});

    // "`what`: No such file or directory". `error_number` is a value of errno.
    static Error from_errno(int error_number, std::string_view what, std::string advice = {});

    // The same error seen from further out: "`context`: what".
    [[nodiscard]] Error with_context(std::string_view context) const;
    // The same error with advice, in place of any it had.
    [[nodiscard]] Error with_advice(std::string advice) const;

    [[nodiscard]] const std::string& what() const { return what_; }
    [[nodiscard]] const std::string& advice() const { return advice_; }
    // The errno behind it, or 0.
    [[nodiscard]] int error_number() const { return error_number_; }
    // One line: what happened, then what to do.
    [[nodiscard]] std::string line() const;

  private:
    std::string what_;
    std::string advice_;
    int error_number_ = 0;
};

template <class T>
using Result = tl::expected<T, Error>;

using Failure = tl::unexpected<Error>;

inline Failure fail(std::string what, std::string advice = {}) {
    return Failure(Error(std::move(what), std::move(advice)));
}

}  // namespace ftvmm

// Evaluates `expression`, a Result; on error returns that error from the calling function.
#define FTVMM_TRY(expression)                                             \
    do {                                                                  \
        auto ftvmm_try_result = (expression);                             \
        if (!ftvmm_try_result) {                                          \
            return ::ftvmm::Failure(std::move(ftvmm_try_result).error()); \
        }                                                                 \
    } while (false)

#define FTVMM_JOIN_(a, b) a##b
#define FTVMM_JOIN(a, b) FTVMM_JOIN_(a, b)

// FTVMM_ASSIGN(auto x, f()): x takes the value of the Result f(); its error is returned.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
#define FTVMM_ASSIGN(declaration, expression) \
    FTVMM_ASSIGN_(declaration, expression, FTVMM_JOIN(ftvmm_result_, __LINE__))
#define FTVMM_ASSIGN_(declaration, expression, name)      \
    auto name = (expression);                             \
    if (!name) {                                          \
        return ::ftvmm::Failure(std::move(name).error()); \
    }                                                     \
    declaration = std::move(*name)
// NOLINTEND(bugprone-macro-parentheses)
