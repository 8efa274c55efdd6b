"""The parts of a class transport that are fitted in closed form, per class and in float64."""

import torch
from torch import Tensor

RIDGE = 1e-3  # of the regression, per code


@torch.no_grad()
def match_moments(
    matrices: Tensor, shifts: Tensor, codes: Tensor, labels: Tensor, variance: Tensor
) -> None:
    """Fits x -> A_y (x - b_y), which brings each class to mean 0 and covariance V.

    b is the class's mean, and A = C^-1/2 (C^1/2 V C^1/2)^1/2 C^-1/2 for its covariance C: the
    optimal transport between two normal distributions. A class with too few codes is left out.

    Args:
        matrices: A, float32 (K, Z, Z), written in place.
        shifts: b, float32 (K, Z), written in place.
        codes: float32 (N, Z).
        labels: int64 (N,) in [0, K).
        variance: Diagonal of V, (Z,).
    """
    codes, labels, variance = codes.cpu(), labels.cpu(), variance.cpu()  # not every GPU has float64
    for label in range(len(shifts)):
        members = codes[labels == label].double()
        if len(members) <= codes.shape[1]:
            continue
        covariance = torch.atleast_2d(torch.cov(members.T))  # of one dimension it is a number
        covariance = covariance + 1e-5 * torch.eye(codes.shape[1])
        root = _square_root(covariance)
        inverse = torch.linalg.inv(root)
        matrix = inverse @ _square_root(root @ torch.diag(variance.double()) @ root) @ inverse
        matrices[label] = matrix.to(matrices)
        shifts[label] = members.mean(dim=0).to(shifts)


@torch.no_grad()
def regress(matrices: Tensor, specified: Tensor, style: Tensor, labels: Tensor) -> None:
    """Fits a ridge regression of ``s`` on ``z``, both centred per class.

    A class with too few codes is left out.

    Args:
        matrices: float32 (K, S, Z), written in place.
        specified: s, float32 (N, S).
        style: z, float32 (N, Z).
        labels: int64 (N,) in [0, K).
    """
    specified, style, labels = specified.cpu(), style.cpu(), labels.cpu()
    for label in range(len(matrices)):
        members = labels == label
        s, z = specified[members].double(), style[members].double()
        if len(z) <= 10 * z.shape[1]:
            continue
        s, z = s - s.mean(dim=0), z - z.mean(dim=0)
        ridge = RIDGE * len(z) * torch.eye(z.shape[1], dtype=z.dtype)
        matrices[label] = torch.linalg.solve(z.T @ z + ridge, z.T @ s).T.to(matrices)


def _square_root(matrix: Tensor) -> Tensor:
    """Computes the square root of a symmetric positive definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=1e-12).sqrt()) @ vectors.T
