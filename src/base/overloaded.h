// A visitor of a variant, made of one lambda for each alternative.
#pragma once

namespace ftvmm {

template <class... Handlers>
struct Overloaded : Handlers... {
    using Handlers::operator()...;
};
template <class... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

}  // namespace ftvmm
