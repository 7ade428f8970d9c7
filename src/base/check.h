// Checks that are always on: for what can only be a mistake in ftvmm itself.
//
// A failed check writes the condition, its place and the flight recorder's last events to standard
// error and aborts. It never returns, throws or allocates, so it may be used on any thread at any
// point. What the outside world can cause is an Error (result.h) instead.
#pragma once

namespace ftvmm {

[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               const char* meaning) noexcept;

}  // namespace ftvmm

// `meaning` is a string literal: which invariant is broken.
#define FTVMM_CHECK(condition, meaning)                                       \
    do {                                                                      \
        if (!(condition)) [[unlikely]] {                                      \
            ::ftvmm::check_failed(#condition, __FILE__, __LINE__, (meaning)); \
        }                                                                     \
    } while (false)
