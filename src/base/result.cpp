#include "base/result.h"

#include <system_error>

namespace ftvmm {

Error::Error(std::string what, std::string advice)
    : what_(std::move(what)), advice_(std::move(advice)) {}

Error Error::from_errno(int error_number, std::string_view what, std::string advice) {
    Error error(std::string(what) + ": " + std::generic_category().message(error_number),
                std::move(advice));
    error.error_number_ = error_number;
    return error;
}

Error Error::with_context(std::string_view context) const {
    Error outer = *this;
    outer.what_ = std::string(context) + ": " + what_;
    return outer;
}

Error Error::with_advice(std::string advice) const {
    Error advised = *this;
    advised.advice_ = std::move(advice);
    return advised;
}

std::string Error::line() const {
    return advice_.empty() ? what_ : what_ + "; " + advice_;
}

}  // namespace ftvmm
